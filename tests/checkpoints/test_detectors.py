"""A GCNet detector of mmdetection from its state dict to detections, and back."""

import pytest
import torch

from gcnet.checkpoints.convert import to_ours, to_theirs
from gcnet.layouts.mmdetection import NETWORK_LAYOUTS
from gcnet.models.detectors import conventions_of
from gcnet.models.hosts import describe_host
from tests.models.mmdetection_reference import detector_shapes, random_state

SMALL = {"depths": (1, 1, 1, 1), "classes": 3}
R50, R101 = {"depths": (3, 4, 6, 3)}, {"depths": (3, 4, 23, 3)}
X101 = {**R101, "groups": 32, "width": 4}


def small(version, **more):
    return random_state(detector_shapes(version, **SMALL, **more), torch.float32)


@pytest.mark.parametrize("reduction", [None, 4, 16])
@pytest.mark.parametrize("version", [1, 2])
def test_to_a_working_detector_and_back(version, reduction):
    state = small(version, reduction=reduction)
    conversion = to_ours(state)
    assert conversion.complete
    assert conversion.source == f"mmdetection {version}.x Mask R-CNN"
    assert conversion.architecture.host.options["num_classes"] == 4
    assert len(conversion.architecture.placed) == (3 if reduction else 0)
    detector = conversion.architecture.build()
    detector.load_state_dict(conversion.tensors)
    described = describe_host(detector)
    assert described.options["conventions"] == conversion.architecture.host.options["conventions"]
    detector.transform.min_size, detector.transform.max_size = (64,), 96
    with torch.no_grad():
        (found,) = detector.eval()([torch.rand(3, 64, 80)])
    assert found.keys() == {"boxes", "labels", "scores", "masks"}

    ours = to_ours(conversion.tensors)
    assert (ours.source, ours.complete) == ("gcnet Mask R-CNN", True)
    back = to_theirs(ours.tensors, ours.architecture, layout=conversion.source)
    assert back.complete
    assert back.tensors.keys() == state.keys()
    assert all(torch.equal(back.tensors[name], state[name]) for name in state)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("reduction", [4, 16])
@pytest.mark.parametrize("body", [R50, R101, X101], ids=["R50", "R101", "X101"])
def test_nothing_of_the_published_detectors_is_left_over(body, reduction, version):
    with torch.device("meta"):
        shapes = detector_shapes(version, **body, reduction=reduction)
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
    conversion = to_ours(state)
    assert conversion.complete
    assert not conversion.filled
    assert conversion.architecture.host.options["num_classes"] == 81
    assert len(conversion.architecture.placed) == sum(body["depths"][1:])
    back = to_theirs(conversion.tensors, conversion.architecture, layout=conversion.source)
    assert {name: tuple(value.shape) for name, value in back.tensors.items()} == shapes


@pytest.mark.parametrize("layout", NETWORK_LAYOUTS[2:], ids=str)
def test_caffe(layout):
    state = small(1 if "1.x" in layout.name else 2)
    conversion = to_ours(state, layout=layout.name)
    detector = conversion.architecture.build("meta")
    assert detector.backbone.body.layer2[0].conv1.stride == (2, 2)
    assert detector.transform.image_std == pytest.approx([1 / 255] * 3)
    assert detector.transform.image_mean[0] > detector.transform.image_mean[2]


@pytest.mark.parametrize("told", ["by the file", "by the user"])
@pytest.mark.parametrize("version", [1, 2])
def test_style_chooses_the_layout_of_caffe(version, told):
    config = {"meta": {"config": "backbone=dict(type='ResNet', style='caffe')"}}
    by = {"metadata": config} if told == "by the file" else {"options": {"style": "caffe"}}
    conversion = to_ours(small(version), **by)
    assert conversion.source == f"mmdetection {version}.x Mask R-CNN caffe"
    assert "style" not in conversion.assumed
    assert conversion.architecture.build("meta").backbone.body.layer2[0].conv1.stride == (2, 2)
    pytorch = to_ours(small(version), metadata=config, options={"style": "pytorch"})
    assert pytorch.source == f"mmdetection {version}.x Mask R-CNN"


def test_style_and_layout_that_were_given_agree():
    caffe, pytorch = {"options": {"style": "caffe"}}, {"options": {"style": "pytorch"}}
    with pytest.raises(ValueError, match=r"layout='mmdetection 2.x Mask R-CNN caffe'"):
        to_ours(small(2), layout="mmdetection 2.x Mask R-CNN", **caffe)
    with pytest.raises(ValueError, match=r"layout='mmdetection 1.x Mask R-CNN'"):
        to_ours(small(1), layout="mmdetection 1.x Mask R-CNN caffe", **pytorch)


def test_style_and_arithmetic_that_a_target_does_not_tell():
    caffe = to_ours(small(2), options={"style": "caffe"})
    with pytest.raises(ValueError, match=r"say layout='mmdetection 2.x Mask R-CNN caffe'"):
        to_theirs(caffe.tensors, caffe.architecture, layout="mmdetection 2.x Mask R-CNN")
    pytorch = to_ours(small(1))
    with pytest.raises(ValueError, match=r"say layout='mmdetection 2.x Mask R-CNN'"):
        to_theirs(pytorch.tensors, pytorch.architecture, layout="mmdetection 2.x Mask R-CNN caffe")
    upgraded = to_theirs(pytorch.tensors, pytorch.architecture, layout="mmdetection 2.x Mask R-CNN")
    assert upgraded.needs == {"detector": ("the arithmetic of mmdetection1",)}
    assert not to_theirs(pytorch.tensors, pytorch.architecture, layout="mmdetection 1.x Mask R-CNN").needs


def test_the_user_says_which_conventions():
    conversion = to_ours(small(2), options={"conventions": "mmdetection1"})
    assert conventions_of(conversion.architecture.build("meta")) == "mmdetection1"
    with pytest.raises(ValueError, match="mmdetection2"):
        to_ours(small(2), options={"conventions": "mmdetection3"})


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("bbox_head.fc_reg", (4, 1024), r"bbox_pred has 4 outputs; supported are 16"),
        ("mask_head.conv_logits", (1, 256, 1, 1), r"mask_fcn_logits has 1 outputs; supported are 4"),
        ("bbox_head.shared_convs.0.conv", (256, 256, 3, 3), "4conv1fc"),
    ],
)
def test_heads_of_another_make(name, shape, message):
    state = small(1) | {f"{name}.weight": torch.zeros(shape), f"{name}.bias": torch.zeros(shape[0])}
    with pytest.raises(ValueError, match=message):
        to_ours(state)


def test_no_mask_head():
    state = {name: value for name, value in small(2).items() if "mask_head" not in name}
    with pytest.raises(ValueError, match=r"mask_fcn_logits\.weight is missing: .* mask head"):
        to_ours(state)
