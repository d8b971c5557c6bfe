"""Every layout of a block: the same outputs, the way back bit by bit, and from one layout to another."""

from functools import partial

import pytest
import torch

from gcnet import ContextBlock, GlobalContext, NonLocal, SqueezeExcite
from gcnet.layouts import (
    BLOCK_LAYOUTS,
    alexhex7,
    gcnet_repository,
    mmcv,
    mmdetection,
    senet_pytorch,
    slowfast,
    timm,
    to_ours,
    to_theirs,
    torchvision,
)
from tests.layouts.sources import CHANNELS, HIDDEN, SOURCES, distance, ours_of, samples


def test_every_layout_is_tried():
    tables = (mmcv, mmdetection, gcnet_repository, timm, torchvision, senet_pytorch, alexhex7, slowfast)
    named = {layout.name for table in tables for layout in table.BLOCK_LAYOUTS}
    assert {source.layout for source in SOURCES.values()} == named <= set(BLOCK_LAYOUTS)


@pytest.mark.parametrize("name", SOURCES)
@torch.no_grad()
def test_same_outputs_and_back_bit_by_bit(name):
    source = SOURCES[name]
    tensors, expected = source.make()
    block, x = ours_of(source, tensors), samples(source.dims)
    assert distance(block(x), expected(x)) <= 1e-12
    back = to_theirs(BLOCK_LAYOUTS[source.layout].write(block, source.dims), block.state_dict())
    assert back.keys() == tensors.keys()
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype, key
        assert torch.equal(back[key], value), key


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("mmcv NonLocal 2d embedded_gaussian", "AlexHex7 NONLocalBlock 2D embedded_gaussian"),
        ("mmcv NonLocal 3d embedded_gaussian", "pytorchvideo NonLocal embedded_gaussian no norm"),
        ("mmcv NonLocal 2d gaussian sub-sampled", "AlexHex7 NONLocalBlock 2D gaussian sub-sampled"),
        ("mmcv NonLocal 1d concatenation", "AlexHex7 NONLocalBlock 1D concatenation"),
        ("mmcv NonLocal 3d dot_product", "pytorchvideo NonLocal dot_product no norm"),
        ("mmcv NonLocal 2d embedded_gaussian norm", "GCNet repository NonLocal2D embedded_gaussian norm"),
        ("GCNet repository NonLocal2D embedded_gaussian", "mmcv NonLocal 2d embedded_gaussian"),
        ("AlexHex7 NONLocalBlock 2D embedded_gaussian norm", "timm NonLocalAttn unscaled"),
        ("AlexHex7 NONLocalBlock 3D embedded_gaussian norm", "SlowFast Nonlocal embedded_gaussian bn"),
        (
            "AlexHex7 NONLocalBlock 3D embedded_gaussian sub-sampled",
            "mmcv NonLocal 3d embedded_gaussian unscaled sub-sampled",
        ),
        ("timm NonLocalAttn", "AlexHex7 NONLocalBlock 2D embedded_gaussian norm"),
        ("SlowFast Nonlocal embedded_gaussian bn (1, 2, 2)", "pytorchvideo NonLocal embedded_gaussian norm (1, 2, 2)"),
        ("pytorchvideo NonLocal embedded_gaussian norm", "SlowFast Nonlocal embedded_gaussian bn"),
        ("timm SEModule silu", "torchvision SqueezeExcitation silu"),
        ("torchvision SqueezeExcitation hard_sigmoid", "timm SqueezeExcite hard_sigmoid"),
        ("senet.pytorch SELayer", "timm SEModule no bias"),
    ],
)
@torch.no_grad()
def test_from_one_layout_to_another(name, target):
    source, target = SOURCES[name], SOURCES[target]
    tensors, expected = source.make()
    block, x = ours_of(source, tensors), samples(source.dims)
    written = to_theirs(BLOCK_LAYOUTS[target.layout].write(block, source.dims), block.state_dict())
    there, run = target.make()
    assert {key: value.shape for key, value in written.items()} == {key: value.shape for key, value in there.items()}
    if isinstance(run, torch.nn.Module):
        run.load_state_dict(written)
    else:
        there.update(written)
    assert distance(run(x), expected(x)) <= 1e-12


def test_a_pair_of_a_scale_and_its_inverse_is_the_first_again():
    block = NonLocal(CHANNELS, hidden=HIDDEN, scale=0.3)
    keys = BLOCK_LAYOUTS["mmcv NonLocal"].write(block, 2)
    state = {name: torch.randn(value.shape).double() for name, value in block.state_dict().items()}
    there = to_theirs(keys, state)
    assert torch.allclose(there["theta.conv.bias"], state["query.bias"] * 0.3 * HIDDEN**0.5, rtol=1e-14)
    back = to_ours(keys, there)
    assert all(torch.allclose(back[name], state[name], rtol=1e-14) for name in state)


@pytest.mark.parametrize("fusions", [("channel_add",), ("channel_mul",), ("channel_add", "channel_mul")], ids=" ".join)
def test_our_context_block_is_in_the_layout_of_mmcv_already(fusions):
    state = ContextBlock(CHANNELS, 1 / 4, fusion_types=fusions).state_dict()
    written = to_theirs(BLOCK_LAYOUTS["mmcv ContextBlock"].write(ContextBlock(CHANNELS, 1 / 4), 2), state)
    assert list(written) == list(state)
    assert all(written[name] is value or torch.equal(written[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("layout", "block", "dims", "reason"),
    [
        ("mmcv ContextBlock", GlobalContext(8, 1 / 2), 3, "has 2 spatial axes, not 3"),
        ("mmcv ContextBlock", NonLocal(8), 2, "is a layout of GlobalContext, not of NonLocal"),
        ("mmcv ContextBlock", GlobalContext(8, 1 / 2, fusion="scale", init="identity"), 2, "published gate"),
        ("mmcv ContextBlock", ContextBlock(8, 1 / 2, fusion_types=("channel_mul",), init="identity"), 2, "'centred'"),
        ("mmcv ContextBlock", ContextBlock(8, 1 / 2), 1, "has 2 spatial axes, not 1"),
        ("mmcv ContextBlock", GlobalContext(8, ratio=None), 2, "a bottleneck with LayerNorm and ReLU.* hidden=None"),
        ("timm GlobalContext", GlobalContext(8, 1 / 2, norm=False, norm_eps=1e-6), 2, "norm=False, relu=True"),
        ("timm GlobalContext", GlobalContext(8, 1 / 2, relu=False, norm_eps=1e-6), 2, "norm=True, relu=False"),
        ("timm GlobalContext", GlobalContext(8, 1 / 2), 2, "eps=1e-06, that of this block norm_eps=1e-05"),
        ("timm GlobalContext", ContextBlock(8, 1 / 2), 2, "is a layout of GlobalContext, not of ContextBlock"),
        ("timm SEModule", SqueezeExcite(8, 1 / 2, init="identity"), 2, "gate='centred'.* init='published'"),
        ("timm SqueezeExcite", SqueezeExcite(8, 1 / 2, bias=False), 2, "has biases, this block has bias=False"),
        ("torchvision SqueezeExcitation", SqueezeExcite(8, 1 / 2), 1, "2 spatial axes, not 1"),
        ("senet.pytorch SELayer", SqueezeExcite(8, 1 / 2), 2, "has no biases, this block has bias=True"),
        (
            "senet.pytorch SELayer",
            SqueezeExcite(8, 1 / 2, bias=False, gate_function="hard_sigmoid"),
            2,
            "gate_function='sigmoid' only, not 'hard_sigmoid'",
        ),
        ("timm NonLocalAttn", NonLocal(8, norm=True), 2, "has a bias before a norm, .* bias of zero would do"),
        ("timm NonLocalAttn", NonLocal(8), 2, "has always a norm, this block has norm=False"),
        ("timm NonLocalAttn", NonLocal(8, norm=True, out_bias=True, subsample="after"), 2, "has no sub-sampling"),
        ("timm NonLocalAttn", NonLocal(8, pairwise="gaussian"), 2, "no pairwise='gaussian', only embedded_gaussian"),
        ("mmcv NonLocal", NonLocal(8, norm=True, out_bias=True), 2, "has no bias before a norm, .* out_bias=True"),
        ("mmcv NonLocal", NonLocal(8, subsample="before"), 2, "subsample='after', this block subsample='before'"),
        (
            "mmcv NonLocal",
            NonLocal(8, subsample="after", subsample_size=3),
            2,
            r"windows of \(2, 2\), .* subsample_size=3",
        ),
        ("mmcv NonLocal", NonLocal(8, subsample="after"), 3, r"windows of \(1, 2, 2\), .* subsample_size=2"),
        ("mmcv NonLocal", NonLocal(8, subsample="after", subsample_size=(1, 2, 2)), 2, "3 axes, the block has 2"),
        ("mmcv NonLocal", NonLocal(8, pairwise="gaussian", scale=0.5), 2, "no scale with pairwise='gaussian'"),
        ("SlowFast Nonlocal", NonLocal(8, norm=True, out_bias=True), 2, "3 spatial axes, not 2"),
        ("SlowFast Nonlocal", NonLocal(8, pairwise="concatenation"), 3, "no pairwise='concatenation'"),
        ("pytorchvideo NonLocal", NonLocal(8, subsample="after"), 3, "subsample='before', this block .*'after'"),
    ],
)
def test_what_a_layout_cannot_express_is_refused(layout, block, dims, reason):
    with pytest.raises(ValueError, match=reason):
        BLOCK_LAYOUTS[layout].write(block, dims)


def test_another_epsilon_is_refused():
    block = NonLocal(8, norm=True)
    block.norm.eps = 1e-3
    with pytest.raises(ValueError, match=r"BatchNorm of mmcv NonLocal has eps=1e-05, that of this block eps=0\.001"):
        BLOCK_LAYOUTS["mmcv NonLocal"].write(block, 2)


def test_a_remedy_that_an_error_names_works():
    block = NonLocal(8, norm=True, out_bias=True, scale="inverse_sqrt")
    block.out.bias.data.zero_()
    assert "z.bias" in to_theirs(BLOCK_LAYOUTS["timm NonLocalAttn"].write(block, 2), block.state_dict())
    source = SOURCES["timm GlobalContext attention add scale"]
    tensors, run = source.make()
    reading = BLOCK_LAYOUTS["timm GlobalContext"].read(tensors, {"norm_eps": 1e-5})
    block = GlobalContext(reading.channels, **reading.options, dtype=torch.float64)
    block.load_state_dict(to_ours(reading.keys, tensors))
    assert "conv_mask.weight" in to_theirs(BLOCK_LAYOUTS["mmcv ContextBlock"].write(block, 2), block.state_dict())
    with torch.no_grad():
        assert 1e-9 < distance(block(samples()), run(samples())) < 1e-3


@pytest.mark.parametrize(
    ("layout", "block", "needs"),
    [
        ("mmcv ContextBlock", GlobalContext(8, 1 / 2), ()),
        ("mmcv NonLocal", NonLocal(8, hidden=4, scale="inverse_sqrt"), ()),
        ("mmcv NonLocal", NonLocal(8, hidden=4, scale=0.3), ()),
        ("mmcv NonLocal", NonLocal(8, hidden=4), ("use_scale=False",)),
        ("mmcv NonLocal", NonLocal(8, pairwise="dot_product"), ("mode='dot_product'",)),
        ("AlexHex7 NONLocalBlock", NonLocal(8, pairwise="gaussian"), ("the class of lib/non_local_gaussian.py",)),
        (
            "SlowFast Nonlocal",
            NonLocal(8, pairwise="dot_product", subsample="before", subsample_size=(1, 2, 2)),
            ("instantiation='dot_product'", "pool_size=(1, 2, 2)"),
        ),
        ("timm SEModule", SqueezeExcite(8, 1 / 2, activation="silu"), ("act_layer='silu'",)),
        (
            "torchvision SqueezeExcitation",
            SqueezeExcite(8, 1 / 2, activation="silu", gate_function="hard_sigmoid"),
            ("activation=torch.nn.SiLU", "scale_activation=torch.nn.Hardsigmoid"),
        ),
    ],
)
def test_what_the_constructor_of_the_source_needs(layout, block, needs):
    assert BLOCK_LAYOUTS[layout].needs(block) == needs


def constructors():
    from timm.layers import NonLocalAttn, SEModule
    from timm.models._efficientnet_blocks import SqueezeExcite as EfficientNetSqueezeExcite

    bricks = pytest.importorskip("mmcv.cnn.bricks", reason="needs mmcv-lite")
    ops = pytest.importorskip("torchvision.ops", reason="needs torchvision")
    timm_classes = (NonLocalAttn, SEModule, EfficientNetSqueezeExcite)
    return {
        "mmcv NonLocal": partial(bricks.NonLocal2d, CHANNELS, reduction=CHANNELS // HIDDEN),
        "torchvision SqueezeExcitation": partial(ops.SqueezeExcitation, CHANNELS, HIDDEN),
        **{f"timm {one.__name__}": partial(one, CHANNELS, rd_channels=HIDDEN) for one in timm_classes},
    }


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, source in SOURCES.items()
        if source.layout.startswith(("mmcv N", "timm N", "timm S", "torchv"))
        and source.dims == 2
        and not name.endswith(("sub-sampled", "norm", "no bias"))  # those show in the tensors
    ],
)
@torch.no_grad()
def test_a_class_built_as_needed_gives_the_same_outputs(name):
    pytest.importorskip("timm", reason="needs timm")
    source = SOURCES[name]
    tensors, expected = source.make()
    layout, block = BLOCK_LAYOUTS[source.layout], ours_of(source, tensors)
    needs = ", ".join(layout.needs(block))
    target = constructors()[source.layout](**eval(f"dict({needs})", {"torch": torch})).double().eval()
    target.load_state_dict(to_theirs(layout.write(block, 2), block.state_dict()))
    x = samples()
    assert distance(target(x), expected(x)) <= 1e-12
