"""How far two orders of the same variants agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations


def kendall(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Kendall's tau-b: 1 for the same order, -1 for the reverse; None if all of one side are equal, or of one pair.

    Args:
        ours: scores.
        theirs: scores of the same variants.

    Raises:
        ValueError: two lengths.

    Example:
        >>> kendall([1, 2, 3, 4], [1, 3, 2, 4])
        0.6666666666666666
        >>> kendall([1, 2, 3], [5, 5, 5]) is None
        True
    """
    if len(ours) != len(theirs):
        raise ValueError(f"ours has {len(ours)} values and theirs {len(theirs)}; give one of each per variant")
    if len(ours) < 3:
        return None
    signs = [(_sign(a[0] - b[0]), _sign(a[1] - b[1])) for a, b in combinations(zip(ours, theirs, strict=True), 2)]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    return sum(a * b for a, b in signs) / math.sqrt(untied[0] * untied[1]) if all(untied) else None


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
