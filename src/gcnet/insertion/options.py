"""Blocks and where they go, as text from a command line."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import nn

from gcnet.blocks.base import BlockSpec, check_choice
from gcnet.blocks.names import block_spec
from gcnet.insertion.insert import insert

STAGES = ("c2", "c3", "c4", "c5")


def insert_named(
    model: nn.Module,
    block: str,
    *,
    ratio: str = "",
    stages: str = "",
    match: str = "",
    blocks: tuple[int, ...] = (),
    position: str = "",
) -> BlockSpec | None:
    """Insert a block by its short name, at c3-c5 unless told otherwise; the spec, or None for no block.

    Raises:
        ValueError: an unknown name, ratio or stage.

    Example:
        >>> from gcnet.insertion.options import insert_named
        >>> from gcnet.models import resnet50
        >>> insert_named(resnet50(), "gc", ratio="1/16", stages="c4-c5")
        GlobalContext.spec(ratio=1/16, init='identity', gate='centred')
    """
    spec = block_spec(block, parse_ratio(ratio), init="identity")
    if spec is not None:
        insert(
            model,
            spec,
            stages=parse_stages(stages or "c3-c5") if stages or not match else None,
            match=match or None,
            blocks=blocks or None,
            position=position or None,
        )
    return spec


def parse_stages(text: str) -> tuple[str, ...]:
    """Stage names from text.

    Raises:
        ValueError: an unknown stage, with the nearest one.

    Example:
        >>> parse_stages("c3-c5"), parse_stages("c2,c4")
        (('c3', 'c4', 'c5'), ('c2', 'c4'))
    """
    stages: list[str] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        ends = [_stage(end) for end in (first, last or first)]
        if ends[0] > ends[1]:
            raise ValueError(f"stages {part!r} run backwards; write {last}-{first}")
        stages += [STAGES[i] for i in range(ends[0], ends[1] + 1) if STAGES[i] not in stages]
    return tuple(stages)


def _stage(name: str) -> int:
    check_choice("stage", name, STAGES)
    return STAGES.index(name)


def parse_ratio(text: str) -> float | None:
    """A ratio from text, None if empty.

    Raises:
        ValueError: not a number or fraction.

    Example:
        >>> parse_ratio("1/16"), parse_ratio("0.25")
        (0.0625, 0.25)
    """
    try:
        return float(Fraction(text)) if text else None
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"ratio {text!r} is not a number such as 1/16") from None


def parse_size(text: str) -> tuple[int, ...]:
    """The size of one sample from text.

    Raises:
        ValueError: not positive integers joined by x.

    Example:
        >>> parse_size("3x800x1280")
        (3, 800, 1280)
    """
    parts = text.split("x")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"input {text!r} is not the size of one sample, such as 3x224x224")
    return tuple(int(part) for part in parts)


def parse_options(pairs: Sequence[str], name: str = "--option") -> dict[str, Any]:
    """Options from text: numbers, tuples and None as Python writes them, all else as text.

    Args:
        pairs: ``NAME=VALUE`` each.
        name: of the argument, for errors.

    Raises:
        ValueError: no ``=`` in it, or one name twice.

    Example:
        >>> parse_options(("style=caffe", "subsample_size=(1, 2, 2)"))
        {'style': 'caffe', 'subsample_size': (1, 2, 2)}
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        option, equals, text = pair.partition("=")
        if not equals or not option or option in options:
            raise ValueError(f"{name} {pair!r} is not NAME=VALUE, or given twice; such as style=caffe")
        try:
            options[option] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            options[option] = text
    return options
