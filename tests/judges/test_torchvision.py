"""torchvision as the judge of SE."""

import pytest
import torch
from torch import nn

from gcnet import SqueezeExcite
from tests.judges.parity import assert_same_as_peer

ops = pytest.importorskip("torchvision.ops.misc", reason="needs torchvision")


@pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU), ("silu", nn.SiLU)])
@pytest.mark.parametrize(("gate", "gate_layer"), [("sigmoid", nn.Sigmoid), ("hard_sigmoid", nn.Hardsigmoid)])
def test_squeeze_excite(activation, layer, gate, gate_layer):
    peer = ops.SqueezeExcitation(64, 8, activation=layer, scale_activation=gate_layer)
    block = SqueezeExcite(64, hidden=8, activation=activation, gate_function=gate)
    names = {
        f"scale.{ours}.{p}": f"{theirs}.{p}"
        for ours, theirs in (("reduce", "fc1"), ("expand", "fc2"))
        for p in ("weight", "bias")
    }
    # the derivative of torch's hardsigmoid is a float32 sixth, in float64 too
    exact_within = 1e-6 if gate == "hard_sigmoid" else 1e-12
    assert_same_as_peer(block, peer, names, torch.randn(2, 64, 7, 5), exact_within=exact_within)
