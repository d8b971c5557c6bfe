"""timm as the judge of GC, SE and NL."""

import pytest
import torch

from gcnet import GlobalContext, NonLocal, SqueezeExcite
from tests.judges.parity import assert_same_as_peer

layers = pytest.importorskip("timm.layers", reason="needs timm")
from timm.layers.non_local_attn import NonLocalAttn  # noqa: E402

PARAMETERS = ("weight", "bias")


@pytest.mark.parametrize("fusion", [("add",), ("scale",), ("add", "scale")], ids=str)
@pytest.mark.parametrize("pooling", ["attention", "average"])
def test_global_context(pooling, fusion):
    peer = layers.GlobalContext(
        32, use_attn=pooling == "attention", fuse_add="add" in fusion, fuse_scale="scale" in fusion
    )
    block = GlobalContext(32, 1 / 8, pooling, fusion, norm_eps=1e-6)
    names = {f"key.{p}": f"conv_attn.{p}" for p in PARAMETERS} if pooling == "attention" else {}
    for fuse in fusion:
        for ours, theirs in (("reduce", "fc1"), ("norm", "norm"), ("expand", "fc2")):
            names |= {f"{fuse}.{ours}.{p}": f"mlp_{fuse}.{theirs}.{p}" for p in PARAMETERS}
    assert_same_as_peer(block, peer, names, torch.randn(2, 32, 7, 5), null=("key.bias",))


@pytest.mark.parametrize("bias", [True, False])
def test_squeeze_excite(bias):
    peer = layers.SEModule(64, rd_channels=8, bias=bias)
    block = SqueezeExcite(64, hidden=8, bias=bias)
    used = PARAMETERS if bias else ("weight",)
    names = {
        f"scale.{ours}.{p}": f"{theirs}.{p}" for ours, theirs in (("reduce", "fc1"), ("expand", "fc2")) for p in used
    }
    assert_same_as_peer(block, peer, names, torch.randn(2, 64, 7, 5))


@pytest.mark.parametrize("use_scale", [True, False])
def test_non_local(use_scale):
    peer = NonLocalAttn(64, use_scale=use_scale, rd_channels=16)
    # timm scales by the width of the input, not of the query
    block = NonLocal(64, hidden=16, scale=64**-0.5 if use_scale else None, norm=True, out_bias=True)
    names = {
        f"{ours}.{p}": f"{theirs}.{p}"
        for ours, theirs in zip(["query", "key", "value", "out"], "tpgz", strict=True)
        for p in PARAMETERS
    }
    names |= {f"norm.{p}": f"norm.{p}" for p in (*PARAMETERS, "running_mean", "running_var")}
    null = ("key.bias", "value.bias", "out.bias")
    assert_same_as_peer(block, peer, names, torch.randn(2, 64, 6, 5), null=null)
