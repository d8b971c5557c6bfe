"""Squeeze-and-excitation blocks of other libraries, read off their tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gcnet.blocks.squeeze_excite import SqueezeExcite
from gcnet.layouts.reading import check_gate, check_writable, checked, name_of, settle, widths
from gcnet.layouts.table import BlockLayout, Key, Reading

_RELU, _SIGMOID = {"relu": ""}, {"sigmoid": ""}


def squeeze_excite_layout(
    name: str,
    keys: tuple[Key, ...],
    *,
    bias: tuple[bool, ...] = (True,),
    activations: Mapping[str, str] = _RELU,
    gates: Mapping[str, str] = _SIGMOID,
) -> BlockLayout:
    """The layout of an SE block with two spatial axes.

    Args:
        name: of the layout.
        keys: table of its tensors.
        bias: whether the class has biases; both, if its constructor asks. Copies of a class without them that have
            them are read, not written.
        activations: ours -> what its constructor needs for that one; the first is its default.
        gates: the same for the gate function.
    """
    choices = {"activation": activations, "gate_function": gates}

    def read(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Reading:
        hidden, channels = widths(name, keys, "scale.reduce.weight", tensors)
        shows = name_of(keys, "scale.reduce.bias") in tensors
        told: dict[str, Any] = {"hidden": hidden, "bias": shows or bias == (True,)}
        assumed = {option: next(iter(words)) for option, words in choices.items()}
        told |= {option: assumed.pop(option) for option, words in choices.items() if len(words) == 1}
        chosen, assumed = settle(name, told, assumed, options)
        return checked(name, SqueezeExcite, Reading(channels, chosen, keys, assumed), tensors)

    def write(block: SqueezeExcite, dims: int) -> tuple[Key, ...]:
        check_writable(name, block, SqueezeExcite, dims)
        check_gate(name, block.gate)
        for option, words in choices.items():
            if getattr(block, option) not in words:
                raise ValueError(f"{name} has {option}={next(iter(words))!r} only, not {getattr(block, option)!r}")
        if (block.scale.expand.bias is not None) not in bias:
            raise ValueError(f"{name} has {'biases' if bias[0] else 'no biases'}, this block has bias={not bias[0]}")
        return keys

    def needs(block: SqueezeExcite) -> tuple[str, ...]:
        return tuple(filter(None, (words[getattr(block, option)] for option, words in choices.items())))

    anchors = (tuple(name_of(keys, f"scale.{layer}.weight") for layer in ("reduce", "expand")),)
    return BlockLayout(name, SqueezeExcite, anchors, read, write, needs)
