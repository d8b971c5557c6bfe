"""What the layouts of blocks share: options against tensors, shapes, and what cannot be written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from gcnet.blocks.base import Block
from gcnet.layouts.table import Key, Reading


def name_of(keys: Iterable[Key], ours: str) -> str:
    """Their name of one of our tensors."""
    return next(key.theirs for key in keys if key.ours == ours)


def widths(name: str, keys: Iterable[Key], ours: str, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """(outputs, inputs) of the projection that is our tensor ``ours``.

    Raises:
        ValueError: it is missing, or no projection.
    """
    key = next(key for key in keys if key.ours == ours)
    if key.theirs not in tensors:
        raise ValueError(f"{name} has a tensor {key.theirs}; here are {', '.join(list(tensors)[:3]) or 'none'}")
    shape = tuple(tensors[key.theirs].shape)
    if len(shape) != 2 + key.axes or set(shape[2:]) - {1}:
        raise ValueError(f"{key.theirs} has shape {shape}, {name} has {('out', 'in', *(1,) * key.axes)} there")
    return shape[0], shape[1]


def settle(
    name: str, told: Mapping[str, Any], assumed: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All options of a block, and those of them that remain assumed.

    Args:
        name: of the layout, for messages.
        told: what tensors and source leave no choice about.
        assumed: what is taken unless the user says otherwise.
        options: what the user says.

    Raises:
        ValueError: an option that is told otherwise, or unknown, with the nearest.

    Example:
        >>> settle("timm SEModule", {"hidden": 8}, {"activation": "relu"}, {"activation": "silu"})
        ({'hidden': 8, 'activation': 'silu'}, {})
    """
    for option, value in options.items():
        if option in told and _plain(value) != told[option]:
            raise ValueError(f"{option}={value!r} was given, but this {name} has {option}={told[option]!r}")
        if option not in told and option not in assumed:
            near = difflib.get_close_matches(option, [*assumed, *told], n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name} has no option {option!r} here{hint} Options: {', '.join(assumed) or 'none'}")
    given = {option: _plain(value) for option, value in options.items()}
    left = {option: value for option, value in assumed.items() if option not in given}
    return {**told, **left, **given}, left


def built(block: type[Block], reading: Reading) -> Block:
    """Our block as it is read, without memory."""
    dims = {"dims": reading.dims} if block.has_spatial_kernels else {}
    return block(reading.channels, **reading.options, **dims, device="meta")


def checked(name: str, block: type[Block], reading: Reading, tensors: Mapping[str, Tensor]) -> Reading:
    """The reading itself, if ``block`` takes its options and has the shapes of the tensors.

    Raises:
        ValueError: it does not.
    """
    expected = built(block, reading).state_dict()
    for key in reading.keys:
        if key.theirs in tensors and key.ours in expected:
            shape = (*expected[key.ours].shape, *(1,) * key.axes)
            if tensors[key.theirs].shape != shape:
                raise ValueError(f"{key.theirs} has shape {tuple(tensors[key.theirs].shape)}, {name} has {shape} there")
    return reading


def check_writable(name: str, block: Any, kind: type[Block], dims: int, allowed: Iterable[int] = (2,)) -> None:
    """Raise ValueError for another block, or another number of spatial axes than the layout has."""
    if not isinstance(block, kind):
        raise ValueError(f"{name} is a layout of {kind.__name__}, not of {type(block).__name__}")
    if dims not in allowed:
        raise ValueError(f"{name} has {' or '.join(map(str, allowed))} spatial axes, not {dims}")


def check_gate(name: str, gate: str) -> None:
    """Raise ValueError for a centred gate, which is ours alone."""
    if gate == "centred":
        raise ValueError(
            f"{name} has the published gate, sigmoid(t); this block has gate='centred', which no weights can make up "
            f"for. Train with init='published' to export"
        )


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
