"""mmcv (installed from PyPI as mmcv-lite) as the judge of GC and NL."""

import warnings

import pytest
import torch

from gcnet import ContextBlock, GlobalContext, NonLocal
from tests.judges.parity import assert_same_as_peer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    bricks = pytest.importorskip("mmcv.cnn.bricks", reason="needs mmcv-lite")

LAYERS = {"reduce": "0", "norm": "1", "expand": "3"}
POOLING = [("attention", "att"), ("average", "avg")]
FUSION = [
    (("add",), ("channel_add",)),
    (("scale",), ("channel_mul",)),
    (("add", "scale"), ("channel_add", "channel_mul")),
]
SHAPES = [(2, 32, 7, 5), (1, 32, 1, 1), (3, 48, 14, 14)]


def global_context_names(pooling, fusion):
    names = {f"key.{p}": f"conv_mask.{p}" for p in ("weight", "bias")} if pooling == "attention" else {}
    for ours, theirs in (("add", "channel_add_conv"), ("scale", "channel_mul_conv")):
        if ours in fusion:
            for layer, index in LAYERS.items():
                names |= {f"{ours}.{layer}.{p}": f"{theirs}.{index}.{p}" for p in ("weight", "bias")}
    return names


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("fusion", "fusion_types"), FUSION, ids=str)
@pytest.mark.parametrize(("pooling", "pooling_type"), POOLING)
def test_context_block(pooling, pooling_type, fusion, fusion_types, shape):
    channels = shape[1]
    peer = bricks.ContextBlock(channels, 1 / 8, pooling_type, fusion_types)
    x = torch.randn(shape)
    block = GlobalContext(channels, 1 / 8, pooling, fusion)
    # at one position every softmax is 1, so that the key has no gradient at all
    null = ("key.bias",) if shape[2:] != (1, 1) else ("key.bias", "key.weight")
    assert_same_as_peer(block, peer, global_context_names(pooling, fusion), x, null=null)

    twin = ContextBlock(channels, 1 / 8, pooling_type, fusion_types)
    null = tuple(name.replace("key", "conv_mask") for name in null)
    assert_same_as_peer(twin, peer, {name: name for name in twin.state_dict()}, x, null=null)


@pytest.mark.parametrize("pooling_type", ["att", "avg"])
def test_context_block_starts_with_the_same_numbers(pooling_type):
    torch.manual_seed(3)
    peer = bricks.ContextBlock(64, 1 / 4, pooling_type, ("channel_add", "channel_mul"))
    torch.manual_seed(3)
    ours = ContextBlock(64, 1 / 4, pooling_type, ("channel_add", "channel_mul"))
    torch.manual_seed(3)
    block = GlobalContext(64, 1 / 4, "attention" if pooling_type == "att" else "average", ("add", "scale"))
    expected = peer.state_dict()
    assert list(ours.state_dict()) == list(expected)
    names = global_context_names(block.pooling, block.fusion)
    for name, value in ours.state_dict().items():
        assert torch.equal(value, expected[name]), name
    for name, value in block.state_dict().items():
        assert torch.equal(value.flatten(), expected[names[name]].flatten()), name


class Clamp(torch.nn.Module):
    """ReLU whose backward needs its input only."""

    def forward(self, x):
        return x.clamp(min=0)


MODES = [
    ("gaussian", False),
    ("embedded_gaussian", False),
    ("embedded_gaussian", True),
    ("dot_product", False),
    ("concatenation", False),
]


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
@pytest.mark.parametrize("subsample", [None, "after"])
@pytest.mark.parametrize(("pairwise", "scaled"), MODES)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_non_local(dims, pairwise, scaled, subsample, norm):
    shape = {1: (2, 16, 11), 2: (2, 16, 7, 6), 3: (2, 16, 3, 5, 4)}[dims]
    cls = getattr(bricks, f"NonLocal{dims}d")
    norm_cfg = {"type": f"BN{dims}d"} if norm else None
    peer = cls(16, sub_sample=subsample is not None, use_scale=scaled, mode=pairwise, norm_cfg=norm_cfg)
    if pairwise == "concatenation":
        # as released it cannot be trained: the in-place division destroys what the ReLU saved for its backward
        peer.concat_project.activate = Clamp()
    block = NonLocal(
        16,
        pairwise=pairwise,
        scale="inverse_sqrt" if scaled else None,
        subsample=subsample,
        subsample_size=(1, 2, 2) if dims == 3 else 2,
        norm=norm,
    )
    pooled = ".0" if subsample else ""
    names = {f"value.{p}": f"g{pooled}.conv.{p}" for p in ("weight", "bias")}
    if pairwise != "gaussian":
        names |= {f"query.{p}": f"theta.conv.{p}" for p in ("weight", "bias")}
        names |= {f"key.{p}": f"phi{pooled}.conv.{p}" for p in ("weight", "bias")}
    if pairwise == "concatenation":
        names["concat.weight"] = "concat_project.conv.weight"
    names["out.weight"] = "conv_out.conv.weight"
    if norm:
        names |= {f"norm.{p}": f"conv_out.bn.{p}" for p in ("weight", "bias", "running_mean", "running_var")}
    else:
        names["out.bias"] = "conv_out.conv.bias"
    # a constant added to every key shifts all logits of a row alike, and BatchNorm removes constants per channel
    null = ("key.bias",) if pairwise == "embedded_gaussian" else ()
    if norm and pairwise in ("gaussian", "embedded_gaussian"):
        null = (*null, "value.bias")
    assert_same_as_peer(block, peer, names, torch.randn(shape), null=null)


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
def test_non_local_starts_as_published(norm):
    block = NonLocal(64, norm=norm)
    x = torch.randn(2, 64, 5, 5)
    assert torch.equal(block(x), x)
    assert 0.008 < block.query.weight.std() < 0.012
    assert not block.query.bias.any()
