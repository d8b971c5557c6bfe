"""Blocks of torchvision."""

from __future__ import annotations

from typing import Any

from gcnet.blocks.squeeze_excite import SqueezeExcite
from gcnet.layouts.squeeze_excite import squeeze_excite_layout
from gcnet.layouts.table import ACTIVATIONS, GATES, Foreign, Reading, conv, translate

SQUEEZE_EXCITATION = (*conv("fc1", "scale.reduce"), *conv("fc2", "scale.expand"))


def _squeeze_excitation(module: Any) -> Reading:
    options = {
        "hidden": module.fc1.out_channels,
        "activation": translate(module.activation, "activation", ACTIVATIONS),
        "gate_function": translate(module.scale_activation, "gate", GATES),
    }
    return Reading(module.fc1.in_channels, options, SQUEEZE_EXCITATION)


FOREIGN = (Foreign("torchvision.ops.misc.SqueezeExcitation", SqueezeExcite, _squeeze_excitation),)
BLOCK_LAYOUTS = (
    squeeze_excite_layout(
        "torchvision SqueezeExcitation",
        SQUEEZE_EXCITATION,
        activations={"relu": "", "silu": "activation=torch.nn.SiLU"},
        gates={"sigmoid": "", "hard_sigmoid": "scale_activation=torch.nn.Hardsigmoid"},
    ),
)
