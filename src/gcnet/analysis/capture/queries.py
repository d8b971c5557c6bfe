"""Queries given as shares of the axes, which fit maps of any size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

#: Points as shares of the axes; None for all positions.
Points = tuple[tuple[float, ...], ...] | None


def check_queries(queries: Iterable[Sequence[float]] | None) -> Points:
    """Points as tuples of shares, or None for all positions.

    Raises:
        ValueError: no points, points with different numbers of axes, or shares outside of 0 to 1.
    """
    if queries is None:
        return None
    try:
        points = tuple(_point(point) for point in queries)
    except TypeError:
        raise ValueError(f"queries={queries!r} are no points; give such as [(0.5, 0.25)] for (y, x)") from None
    if not points:
        raise ValueError("queries= is empty; give points such as (0.5, 0.25) for (y, x), or leave it out for all")
    for point in points:
        if len(point) != len(points[0]):
            raise ValueError(f"queries= mixes points of {len(points[0])} and {len(point)} axes")
    return points


def position_of(shares: Sequence[float], size: tuple[int, ...], prefix: int, path: str) -> int:
    """Index of the position at shares of the axes.

    Raises:
        ValueError: another number of axes, or a share outside of 0 to 1.
    """
    point = _point(shares)
    if len(point) != len(size):
        raise ValueError(
            f"the point {point} has {len(point)} axes, but {path!r} attends over {len(size)}, {size}; give one share "
            "per axis, and choose layers that have them with match="
        )
    index = 0
    for place, extent in zip(cell_of(point, size), size, strict=True):
        index = index * extent + place
    return prefix + index


def cell_of(point: Sequence[float], size: Sequence[int]) -> tuple[int, ...]:
    """The cell of a map of this size in which a point lies.

    Example:
        >>> cell_of((0.0, 0.5), (7, 7)), cell_of((1.0, 0.99), (7, 7))
        ((0, 3), (6, 6))
    """
    return tuple(min(int(share * extent), extent - 1) for share, extent in zip(point, size, strict=True))


def _point(shares: Any) -> tuple[float, ...]:
    try:
        point = tuple(float(share) for share in shares)
    except (TypeError, ValueError):
        point = ()
    if not point or not all(isfinite(share) and 0 <= share <= 1 for share in point):
        raise ValueError(f"{shares!r} is no point; give shares of the axes in 0..1, such as (0.5, 0.25) for (y, x)")
    return point
