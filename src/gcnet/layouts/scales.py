"""The factor of a non-local block's logits: four rules are in use, and theta takes up the difference between them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from math import isfinite

from gcnet.layouts.table import Change, Key

#: Rule -> whose width, and the exponent that makes it the factor. ``"sqrt"`` is the official repository's inverted one.
RULES = {
    "none": ("hidden", 0.0),
    "inverse_sqrt": ("hidden", -0.5),
    "inverse_sqrt_input": ("channels", -0.5),
    "sqrt": ("hidden", 0.5),
}


def logit_scale(scale: str | float | None, channels: int, hidden: int) -> float | None:
    """The factor that a rule or a number stands for, as ``NonLocal`` takes it.

    Args:
        scale: ``"none"`` or None, ``"inverse_sqrt"`` or ``"sqrt"`` of the inner width, ``"inverse_sqrt_input"`` of the
            block's channels, or a number.
        channels: of the block.
        hidden: its inner width.

    Raises:
        ValueError: anything else, with the nearest.

    Example:
        >>> [logit_scale(rule, 64, 16) for rule in RULES]
        [None, 0.25, 0.125, 4.0]
    """
    if scale is None or scale == "none":
        return None
    if isinstance(scale, (int, float)) and not isinstance(scale, bool) and isfinite(scale):
        return float(scale)
    if scale not in RULES:
        near = difflib.get_close_matches(str(scale), RULES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"scale={scale!r} is neither a number nor one of {', '.join(map(repr, RULES))}{hint}")
    width, exponent = RULES[str(scale)]
    return float({"hidden": hidden, "channels": channels}[width] ** exponent)


def nearest_rule(scale: float | None, rules: Iterable[str], channels: int, hidden: int) -> str:
    """The one of ``rules`` that gives exactly ``scale``, else the first."""
    rules = tuple(rules)
    exact = (rule for rule in rules if _factor(scale, logit_scale(rule, channels, hidden)) == 1)
    return next(exact, rules[0])


def rescaled(keys: Iterable[Key], ours: float | None, theirs: float | None) -> tuple[Key, ...]:
    """The keys with theta, weight and bias, multiplied so that a block with another factor computes the same."""
    factor = _factor(ours, theirs)
    if factor == 1:
        return tuple(keys)
    change = Change(
        f"times {factor:.6g} for another logit scale", lambda value: value / factor, lambda value: value * factor
    )
    return tuple(key._replace(change=change) if key.ours in ("query.weight", "query.bias") else key for key in keys)


def _factor(ours: float | None, theirs: float | None) -> float:
    return (1.0 if ours is None else ours) / (1.0 if theirs is None else theirs)
