"""CBAM against its formula and timm, and where the paper and the code differ."""

import pytest
import torch

from gcnet import CBAM
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


def cbam(form, gate):
    factor = 2 if gate == "centred" else 1

    def formula(x, w, training):
        positions = x.flatten(2)
        logits = mlp(positions.mean(2), w, "channel_gate") + mlp(positions.max(2).values, w, "channel_gate")
        x = x * factor * everywhere(logits.sigmoid(), x)
        mean, maximum = x.mean(1, keepdim=True), x.max(1, keepdim=True).values
        pair = [mean, maximum] if form == "paper" else [maximum, mean]
        logits = conv(torch.cat(pair, 1), w, "spatial_gate.conv")
        if form == "code":
            logits = batch_norm(logits, w, "spatial_gate.norm", training)
        return x * factor * logits.sigmoid()

    return formula


@each_dims
@each_form
@each_mode
@pytest.mark.parametrize("gate", ["published", "centred"])
def test_formula(dims, form, training, gate):
    block = CBAM(8, 1 / 4, form=form, gate=gate, dims=dims)
    assert_same_as_formula(block, cbam(form, gate), features(dims, 8), training)


@each_dims
@each_form
def test_gradients(dims, form):
    block = CBAM(4, hidden=2, kernel_size=3, form=form, dims=dims)
    assert_gradients(block, features(dims, 4, batch=2, small=True))


@each_mode
def test_timm(training):
    layers = pytest.importorskip("timm.layers.cbam", reason="needs timm")
    peer = layers.CbamModule(32, rd_channels=4, mlp_bias=True)
    # timm has the code's norm, but the mean before the maximum
    peer.spatial.conv.register_forward_pre_hook(lambda module, inputs: inputs[0].flip(1))
    block = CBAM(32, hidden=4, form="code")
    names = {
        f"channel_gate.{ours}.{p}": f"channel.{theirs}.{p}"
        for ours, theirs in (("reduce", "fc1"), ("expand", "fc2"))
        for p in ("weight", "bias")
    }
    names["spatial_gate.conv.weight"] = "spatial.conv.conv.weight"
    for p in ("weight", "bias", "running_mean", "running_var"):
        names[f"spatial_gate.norm.{p}"] = f"spatial.conv.bn.{p}"
    x = torch.randn(2, 32, 9, 7)
    assert_same_as_peer(block.train(training), peer.train(training), names, x)


def test_timm_rounds_the_width_and_the_paper_cuts_it():
    layers = pytest.importorskip("timm.layers.cbam", reason="needs timm")
    assert layers.CbamModule(40).channel.fc1.out_channels == 3
    assert CBAM(40).hidden == 2


def test_published_start_of_the_code():
    norm = CBAM(32, form="code").spatial_gate.norm
    assert norm.momentum == 0.01
    assert not norm.weight.any()
    assert not norm.bias.any()


@each_form
def test_identity_learns(form):
    history = gradient_history(CBAM(16, 1 / 2, form=form, init="identity").double(), features(2, 16))
    last = {"channel_gate.expand.weight", "channel_gate.expand.bias"}
    last |= {"spatial_gate.conv.weight", "spatial_gate.conv.bias"} if form == "paper" else set()
    last |= {"spatial_gate.norm.weight", "spatial_gate.norm.bias"} if form == "code" else set()
    assert history[0] == last
    assert history[-1] == {name for name, _ in CBAM(8, 1 / 4, form=form).named_parameters()}


@each_form
def test_parameters_of_resnet50(form):
    counts = [(CBAM(c, form=form, device="meta"), n) for c, n in ((256, 3), (512, 4), (1024, 6), (2048, 3))]
    assert round(parameter_total(counts) / 1e6, 2) == 28.09


@each_mode
def test_largest_float16_values(training):
    block = CBAM(32, 1 / 8, form="code", init="identity", dtype=torch.float16).train(training)
    x = torch.full((2, 32, 9, 9), 65504.0, dtype=torch.float16)
    x[:, ::2] *= -1
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "codes"}, "did you mean 'code'"),
        ({"init": "identity", "gate": "published"}, "needs gate='centred'"),
        ({"kernel_size": 6}, "such as 7"),
        ({"ratio": 1 / 64}, "smallest valid ratio for 32 channels is 1/32"),
        ({"dims": 0}, "dims=0"),
    ],
    ids=str,
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        CBAM(32, **options)
