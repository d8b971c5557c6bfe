"""BAM against its formula, and how a product can start as an identity and still learn."""

import pytest
import torch

from gcnet import BAM
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


def bam(form, gate, dilation):
    offset = 0.5 if gate == "centred" else 1.0

    def formula(x, w, training):
        by_channel = mlp(x.flatten(2).mean(2), w, "channel_gate", training)
        hidden = x
        for layer, spread in (("reduce", 1), ("dilated.0", dilation), ("dilated.1", dilation)):
            hidden = conv(hidden, w, f"spatial_gate.{layer}.conv", spread)
            hidden = batch_norm(hidden, w, f"spatial_gate.{layer}.norm", training).relu()
        by_position = conv(hidden, w, "spatial_gate.expand")
        if form == "paper":
            by_channel = batch_norm(by_channel, w, "channel_norm", training)
            by_position = batch_norm(by_position, w, "spatial_norm", training)
            logits = everywhere(by_channel, x) + by_position
        else:
            logits = everywhere(by_channel, x) * by_position
        return x * (offset + logits.sigmoid())

    return formula


@each_dims
@each_form
@each_mode
@pytest.mark.parametrize("gate", ["published", "centred"])
def test_formula(dims, form, training, gate):
    block = BAM(8, 1 / 2, dilation=2, form=form, gate=gate, dims=dims)
    assert_same_as_formula(block, bam(form, gate, 2), features(dims, 8), training)


@each_dims
@each_form
def test_gradients(dims, form):
    block = BAM(4, hidden=2, dilation=1, form=form, dims=dims)
    assert_gradients(block, features(dims, 4, small=True))


@each_form
def test_identity_learns(form):
    # in eval mode: in training, a bias before a BatchNorm has no gradient by the mathematics
    block = BAM(8, 1 / 2, form=form, init="identity").double().eval()
    history = gradient_history(block, features(2, 8))
    norms = {f"{branch}_norm.{p}" for branch in ("channel", "spatial") for p in ("weight", "bias")}
    product = {"channel_gate.expand.weight", "channel_gate.expand.bias"}
    assert history[0] == (norms if form == "paper" else product)
    assert history[-1] == {name for name, _ in block.named_parameters()}


@each_form
def test_parameters_of_resnet50(form):
    counts = [(BAM(c, form=form, device="meta"), 1) for c in (256, 512, 1024)]
    assert round(parameter_total(counts) / 1e6, 2) == 25.92


@each_form
@each_mode
def test_largest_float16_values(form, training):
    block = BAM(32, 1 / 8, form=form, init="identity", dtype=torch.float16).train(training)
    x = torch.full((2, 32, 9, 9), 65504.0, dtype=torch.float16)
    x[:, ::2] *= -1
    assert torch.equal(block(x), x)


def test_one_sample_in_training_is_an_error_of_batch_norm():
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BAM(32).train()(torch.randn(1, 32, 5, 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "sum"}, "'paper', 'code'"),
        ({"init": "identity", "gate": "published"}, "needs gate='centred'"),
        ({"dilation": 0}, "dilation=0"),
        ({"ratio": 1 / 64}, "smallest valid ratio for 32 channels is 1/32"),
        ({"dims": 4}, "dims=4"),
    ],
    ids=str,
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        BAM(32, **options)
