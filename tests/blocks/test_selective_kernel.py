"""Selective kernels against the formula and timm."""

import pytest
import torch

from gcnet import SelectiveKernel
from tests.blocks.formulas import (
    assert_gradients,
    assert_same_as_formula,
    batch_norm,
    conv,
    each_dims,
    each_form,
    each_mode,
    everywhere,
    features,
    gradient_history,
    mlp,
    parameter_total,
)
from tests.judges.parity import assert_same_as_peer


def selective_kernel(form, branches, groups):
    def formula(x, w, training):
        maps = []
        for m in range(branches):
            plain = form == "code" and m == 0
            layer = conv(
                x, w, f"branches.{m}.conv", dilation=m + 1 if form == "paper" else 1, groups=1 if plain else groups
            )
            maps.append(batch_norm(layer, w, f"branches.{m}.norm", training).relu())
        pooled = sum(maps).flatten(2).mean(2)
        scores = mlp(pooled, w, "attention", training).chunk(branches, 1)
        total = sum(score.exp() for score in scores)
        return sum(everywhere(score.exp() / total, x) * features for score, features in zip(scores, maps, strict=True))

    return formula


@each_dims
@each_mode
@pytest.mark.parametrize(("form", "branches"), [("paper", 2), ("paper", 3), ("code", 2)])
def test_formula(dims, training, form, branches):
    block = SelectiveKernel(8, hidden=4, branches=branches, groups=2, form=form, dims=dims)
    assert_same_as_formula(block, selective_kernel(form, branches, 2), features(dims, 8), training)


@each_dims
@each_form
def test_gradients(dims, form):
    block = SelectiveKernel(4, hidden=2, groups=2, form=form, dims=dims)
    assert_gradients(block, features(dims, 4, small=True))


@each_mode
def test_timm(training):
    layers = pytest.importorskip("timm.layers", reason="needs timm")
    peer = layers.SelectiveKernel(32, groups=4, rd_channels=8, split_input=False)
    block = SelectiveKernel(32, hidden=8, groups=4)
    statistics = ("weight", "bias", "running_mean", "running_var")
    names = {f"branches.{m}.conv.weight": f"paths.{m}.conv.weight" for m in range(2)}
    names |= {f"branches.{m}.norm.{p}": f"paths.{m}.bn.{p}" for m in range(2) for p in statistics}
    names |= {f"attention.norm.{p}": f"attn.bn.{p}" for p in statistics}
    names |= {"attention.reduce.weight": "attn.fc_reduce.weight", "attention.expand.weight": "attn.fc_select.weight"}
    assert_same_as_peer(block.train(training), peer.train(training), names, torch.randn(4, 32, 9, 7))


@each_form
def test_every_parameter_learns(form):
    block = SelectiveKernel(8, hidden=4, groups=2, form=form).double()
    assert gradient_history(block, features(2, 8), steps=1)[0] == {name for name, _ in block.named_parameters()}


def test_width_has_a_floor_in_the_paper_only():
    assert [SelectiveKernel(c).hidden for c in (32, 512, 1024)] == [32, 32, 64]
    assert SelectiveKernel(64, form="code").hidden == 4
    assert SelectiveKernel(64, min_hidden=8).hidden == SelectiveKernel(64, form="code", min_hidden=8).hidden == 8
    assert SelectiveKernel(64, hidden=5).hidden == 5


def test_parameters_of_sknet50():
    # the paper's 27.5 million: ResNet-50 with twice the width inside its bottlenecks, and SK for the 3x3 convolution
    host, inputs, counts = 64 * 3 * 49 + 128 + 2048 * 1000 + 1000, 64, []
    for width, blocks in ((128, 3), (256, 4), (512, 6), (1024, 3)):
        outputs = 2 * width
        host += inputs * outputs + 2 * outputs  # the shortcut
        for _ in range(blocks):
            host += inputs * width + 2 * width + width * outputs + 2 * outputs
            inputs = outputs
        counts.append((SelectiveKernel(width, device="meta"), blocks))
    assert parameter_total(counts, host) == 27_479_784


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_channels_last_3d_where_the_convolution_loses_it(dtype):
    block = SelectiveKernel(8, groups=2, dims=3, dtype=dtype)
    x = features(3, 8).to(dtype).contiguous(memory_format=torch.channels_last_3d)
    y = block(x)
    assert y.is_contiguous(memory_format=torch.channels_last_3d)
    y.sum().backward()
    assert all(p.grad is not None for p in block.parameters())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"groups": 32}, ValueError, r"does not divide channels=48; the nearest that does is 24"),
        ({"groups": 0}, ValueError, "groups=0"),
        ({"branches": 1}, ValueError, "at least 2"),
        ({"branches": 3, "form": "code"}, ValueError, "form='paper' takes more"),
        ({"form": "codes"}, ValueError, "did you mean 'code'"),
        ({"ratio": 1 / 64, "form": "code"}, ValueError, "smallest valid ratio"),
        ({"ratio": -1.0}, ValueError, "positive"),
        ({"ratio": "r16"}, TypeError, "number"),
        ({"init": "identity"}, TypeError, "init"),
    ],
    ids=str,
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        SelectiveKernel(48, **{"groups": 4, **options})
