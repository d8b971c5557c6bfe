"""scSE against its formula, and what its two forms and gates are."""

import pytest
import torch

from gcnet import SCSE
from tests.blocks.formulas import (
    assert_gradients,
    assert_same_as_formula,
    each_dims,
    each_form,
    everywhere,
    features,
    gradient_history,
    mlp,
)


def scse(form, gate):
    factor = 2 if gate == "centred" else 1

    def formula(x, w, training):
        by_channel = everywhere(mlp(x.flatten(2).mean(2), w, "channel_gate").sigmoid(), x)
        logits = (x * w["spatial_gate.weight"]).sum(1, keepdim=True) + w["spatial_gate.bias"]
        by_position = logits.sigmoid().expand_as(x)
        if form == "code":
            return torch.maximum(x * factor * by_channel, x * factor * by_position)
        # published: the sum; centred: the mean of two gates that are 1 at 0
        return x * factor * by_channel / factor + x * factor * by_position / factor

    return formula


@each_dims
@each_form
@pytest.mark.parametrize("gate", ["published", "centred"])
def test_formula(dims, form, gate):
    block = SCSE(8, form=form, gate=gate, dims=dims)
    assert_same_as_formula(block, scse(form, gate), features(dims, 8), True)


@each_dims
@each_form
def test_gradients(dims, form):
    assert_gradients(SCSE(4, form=form, dims=dims), features(dims, 4, batch=2, small=True))


@each_form
def test_identity_learns(form):
    history = gradient_history(SCSE(8, form=form, init="identity").double(), features(2, 8))
    last = {"channel_gate.expand.weight", "channel_gate.expand.bias", "spatial_gate.weight", "spatial_gate.bias"}
    assert history[0] == last
    assert history[-1] == last | {"channel_gate.reduce.weight", "channel_gate.reduce.bias"}


def test_names_and_shapes():
    shapes = {name: tuple(p.shape) for name, p in SCSE(8, dims=3).named_parameters()}
    assert shapes == {
        "channel_gate.reduce.weight": (4, 8),
        "channel_gate.reduce.bias": (4,),
        "channel_gate.expand.weight": (8, 4),
        "channel_gate.expand.bias": (8,),
        "spatial_gate.weight": (1, 8, 1, 1, 1),
        "spatial_gate.bias": (1,),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "papers"}, "did you mean 'paper'"),
        ({"init": "identity", "gate": "published"}, "needs gate='centred'"),
        ({"ratio": 1 / 100}, "smallest valid ratio"),
        ({"dims": 4}, "dims=4"),
    ],
    ids=str,
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        SCSE(8, **options)


def test_rank_of_the_input_must_fit():
    with pytest.raises(ValueError, match=r"dims=2 and expects \[N, 8, H, W\]"):
        SCSE(8)(torch.zeros(2, 8, 5))
