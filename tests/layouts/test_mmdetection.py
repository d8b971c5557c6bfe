"""Keys and shapes of GCNet's detectors, forwards and backwards; mmdetection itself cannot be installed."""

import pytest
import torch

import gcnet
from gcnet.layouts import to_ours, to_theirs
from gcnet.layouts.mmdetection import (
    MASK_RCNN_1,
    MASK_RCNN_1_CAFFE,
    MASK_RCNN_2,
    MASK_RCNN_2_CAFFE,
    NETWORK_LAYOUTS,
    SE_LAYER,
    SE_LAYOUT,
)
from tests.layouts import translation
from tests.models.mmdetection_reference import detector_shapes, random_state

models = pytest.importorskip("gcnet.models", reason="needs torchvision")
BODIES = {
    "R50": (models.resnet50, {"depths": (3, 4, 6, 3)}),
    "R101": (models.resnet101, {"depths": (3, 4, 23, 3)}),
    "X101": (models.resnext101_32x4d, {"depths": (3, 4, 23, 3), "groups": 32, "width": 4}),
}
LAYOUTS = {1: MASK_RCNN_1, 2: MASK_RCNN_2}
SMALL = {"depths": (1, 1, 1, 1), "classes": 3}


@pytest.mark.parametrize("version", LAYOUTS)
@pytest.mark.parametrize("reduction", [None, 4, 16])
@pytest.mark.parametrize("body", BODIES)
def test_every_key_of_the_published_detectors_has_its_place(body, reduction, version):
    make, options = BODIES[body]
    with torch.device("meta"):
        shapes = detector_shapes(version, **options, reduction=reduction)
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
        detector = models.mask_rcnn(make(), conventions=f"mmdetection{version}")
        if reduction:
            spec = gcnet.GlobalContext.spec(ratio=1 / reduction)
            gcnet.insert(detector.backbone.body, spec, match="layer[234].*", position="after_1x1")
    ours = translation.to_ours(LAYOUTS[version], state)
    expected = {name: value.shape for name, value in detector.state_dict().items()}
    assert {name: value.shape for name, value in ours.items()} == expected
    theirs = translation.to_theirs(LAYOUTS[version], ours)
    assert {name: tuple(value.shape) for name, value in theirs.items()} == shapes


@pytest.mark.parametrize("layout", NETWORK_LAYOUTS, ids=str)
def test_round_trip_keeps_every_bit(layout):
    version = 1 if "1.x" in layout.name else 2
    state = random_state(detector_shapes(version, **SMALL), torch.float32)
    back = translation.to_theirs(layout, translation.to_ours(layout, state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("version", LAYOUTS)
@pytest.mark.parametrize("body", BODIES)
def test_round_trip_at_full_size(body, version):
    state = random_state(detector_shapes(version, **BODIES[body][1], reduction=4), torch.float32)
    back = translation.to_theirs(LAYOUTS[version], translation.to_ours(LAYOUTS[version], state))
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_order_of_classes():
    rows = torch.arange(1.0, 4)
    state = {"roi_head.bbox_head.fc_cls.bias": torch.cat([rows, torch.tensor([9.0])])}
    state["roi_head.bbox_head.fc_reg.bias"] = rows.repeat_interleave(4)
    state["roi_head.mask_head.conv_logits.bias"] = rows
    classes, boxes, masks = translation.to_ours(MASK_RCNN_2, state).values()
    assert classes.tolist() == [9, 1, 2, 3]
    assert boxes.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert masks.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("layout", [MASK_RCNN_1_CAFFE, MASK_RCNN_2_CAFFE], ids=str)
def test_caffe_takes_blue_first(layout):
    weight, image = torch.randn(64, 3, 7, 7), torch.rand(1, 3, 9, 9)
    (ours,) = translation.to_ours(layout, {"backbone.conv1.weight": weight}).values()
    torch.testing.assert_close(
        torch.nn.functional.conv2d(image, ours), torch.nn.functional.conv2d(image[:, [2, 1, 0]], weight)
    )


@pytest.mark.parametrize(
    ("layout", "key", "what"),
    [
        (MASK_RCNN_1, "bbox_head.1.fc_cls.weight", "Cascade"),
        (MASK_RCNN_2, "roi_head.bbox_head.0.fc_cls.weight", "Cascade"),
        (MASK_RCNN_1, "bbox_head.shared_convs.0.conv.weight", "4conv1fc"),
        (MASK_RCNN_2, "roi_head.bbox_head.shared_convs.3.bn.weight", "4conv1fc"),
        (MASK_RCNN_1, "backbone.layer2.0.conv2_offset.weight", "DCN"),
        (MASK_RCNN_2, "backbone.layer3.5.conv2.conv_offset.bias", "DCN"),
    ],
)
def test_other_detectors_are_refused_by_name(layout, key, what):
    with pytest.raises(ValueError, match=rf"{key}: .*{what}.*supported is .*2fc"):
        layout.check(["rpn_head.rpn_conv.weight", key])
    layout.check(detector_shapes(1 if layout is MASK_RCNN_1 else 2, **SMALL))


class TestSELayer:
    def test_read(self):
        block = gcnet.SqueezeExcite(32, 1 / 4)
        theirs = to_theirs(SE_LAYER, block.state_dict())
        assert {name: tuple(value.shape) for name, value in theirs.items()} == {
            "conv1.conv.weight": (8, 32, 1, 1),
            "conv1.conv.bias": (8,),
            "conv2.conv.weight": (32, 8, 1, 1),
            "conv2.conv.bias": (32,),
        }
        reading = SE_LAYOUT.read(theirs, {"gate_function": "hard_sigmoid"})
        assert (reading.channels, reading.options["hidden"]) == (32, 8)
        assert reading.options["gate_function"] == "hard_sigmoid"
        assert reading.assumed == {}

    def test_formula(self):
        x = torch.randn(2, 32, 5, 6, dtype=torch.float64)
        first, second = torch.randn(8, 32, 1, 1).double(), torch.randn(32, 8, 1, 1).double()
        state = {"conv1.conv.weight": first, "conv2.conv.weight": second}
        state |= {"conv1.conv.bias": torch.randn(8).double(), "conv2.conv.bias": torch.randn(32).double()}
        reading = SE_LAYOUT.read(state, {})
        block = gcnet.SqueezeExcite(reading.channels, **reading.options).double()
        ours = to_ours(reading.keys, state)
        block.load_state_dict(ours)
        hidden = (x.mean((2, 3)) @ first[:, :, 0, 0].T + state["conv1.conv.bias"]).clamp(min=0)
        gate = 1 / (1 + (-(hidden @ second[:, :, 0, 0].T + state["conv2.conv.bias"])).exp())
        torch.testing.assert_close(block(x), x * gate[:, :, None, None], rtol=1e-12, atol=1e-12)
        back = to_theirs(SE_LAYOUT.write(block, 2), ours)
        assert all(torch.equal(back[name], state[name]) for name in state)

    @pytest.mark.parametrize(
        ("options", "dims", "message"),
        [({}, 3, "3"), ({"bias": False}, 2, "bias"), ({"gate": "centred"}, 2, "centred")],
    )
    def test_what_it_cannot_express(self, options, dims, message):
        with pytest.raises(ValueError, match=message):
            SE_LAYOUT.write(gcnet.SqueezeExcite(32, **options), dims)
