"""One picture with the maps that are drawn over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gcnet.analysis.capture import KINDS, Captured
from gcnet.analysis.capture.queries import cell_of
from gcnet.analysis.figures.maps import AttentionMap, mean_map, query_maps
from gcnet.analysis.figures.points import Point, choose_points, parse_points
from gcnet.analysis.spread import attention_spread


@dataclass(frozen=True, eq=False)
class Panel:
    """A map over a picture.

    Attributes:
        title: what it is, such as ``"query 1"``.
        picture: uint8 [3, H, W], or a clip [3, T, H, W].
        map: of the attention over it.
        point: the query it is of; None for a map of all queries.
    """

    title: str
    picture: Tensor
    map: AttentionMap
    point: Point | None = None


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """One picture: where it is asked from, and a panel for each query and for all of them.

    Attributes:
        picture: uint8 [3, H, W], or a clip [3, T, H, W].
        points: the queries.
        panels: a map per query, then the one for all queries.
        mean: the mean over all queries; the map itself of a block whose map is the same for all.
    """

    picture: Tensor
    points: tuple[Point, ...]
    panels: tuple[Panel, ...]
    mean: AttentionMap

    def numbers(self) -> list[dict[str, object]]:
        """What can be said of the map of each query in figures.

        Places are pixels (and frames) of the picture, cosine distance is (1 - cos) / 2 as in GCNet (arXiv:1904.11492,
        section 3.2), weights are shares of the whole attention, and ``effective_positions`` is exp(entropy) over the
        positions of the picture. Of weights that are no shares, as of dot products, entropy is None.
        """
        return [
            {
                "query": None if panel.point is None else self._pixel(panel.point),
                **_sizes(panel.map),
                "largest": self._largest(panel.map),
                "distance_to_mean": _distance(panel.map.weights, self.mean.weights),
            }
            for panel in (self.panels[: len(self.points)] or self.panels[:1])
        ]

    def _pixel(self, point: Point) -> dict[str, int]:
        cell = cell_of(point, self.picture.shape[1:])
        return dict(zip(("t", "y", "x")[-len(cell) :], cell, strict=True))

    def _largest(self, seen: AttentionMap) -> dict[str, float]:
        weights = seen.weights
        cell = torch.unravel_index(weights.argmax(), weights.shape)
        point = tuple(
            reach * (int(place) + 0.5) / extent
            for reach, place, extent in zip(seen.reach, cell, weights.shape, strict=True)
        )
        return {"weight": float(weights.max()) / seen.keys, "times_uniform": float(weights.max()), **self._pixel(point)}


def _sizes(seen: AttentionMap) -> dict[str, float | None]:
    shares = seen.weights.flatten() / seen.keys
    if not seen.softmax or not shares.any():  # as of a query that a mask leaves nothing
        return {"positions": len(shares), "effective_positions": None, "share_in_picture": None}
    effective = float(attention_spread(shares[None])) * len(shares)
    return {"positions": len(shares), "effective_positions": effective, "share_in_picture": float(shares.sum())}


def _distance(a: Tensor, b: Tensor) -> float:
    return float((1 - torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)).clamp(min=0)) / 2


def attention_row(
    seen: Captured,
    picture: Tensor,
    queries: str | Sequence[Point] = "auto",
    *,
    sample: int = 0,
    head: int | None = None,
    beside: Captured | None = None,
    beside_picture: Tensor | None = None,
) -> AttentionRow:
    """Maps of a block over one picture, or one clip.

    Args:
        seen: a captured block.
        picture: what the network saw, uint8 [3, H, W] or [3, T, H, W].
        queries: ``"auto"`` for three telling points (:func:`choose_points`), ``"x,y;x,y"`` (:func:`parse_points`), or
            points as shares along the axes. ``"auto"`` chooses none for a block whose map is the same for all queries.
        sample: of the captured batch.
        head: of a transformer, from 0; by default the mean of all heads.
        beside: a block to show for comparison, as a rule a GC or SNL block; by default the mean map over all queries.
        beside_picture: what its network saw, if that is another one.

    Raises:
        ValueError: points out of range, no such head, maps that do not lie over the picture.

    Example:
        >>> import gcnet
        >>> from gcnet.analysis.capture import capture
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), gcnet.NonLocal(8))
        >>> with capture(net) as maps:
        ...     _ = net(torch.randn(1, 3, 32, 32))
        >>> row = attention_row(maps["1"], torch.zeros(3, 32, 32, dtype=torch.uint8), "3,3;20,9")
        >>> [panel.title for panel in row.panels]
        ['query 1', 'query 2', 'mean map']
    """
    if len(seen.size) != picture.dim() - 1:
        raise ValueError(
            f"{seen.path} attends over {len(seen.size)} axes, {seen.size}, the picture has {tuple(picture.shape[1:])}"
        )
    points = _points(seen, picture, queries, sample)
    maps = query_maps(seen, points, sample=sample, head=head)
    mean = mean_map(seen, sample=sample, head=head)
    panels = [
        Panel(f"query {number}", picture, found, point)
        for number, (found, point) in enumerate(zip(maps, points, strict=True), 1)
    ]
    if seen.pooled or beside is None:
        panels.append(Panel(_title(seen), picture, mean))
    if beside is not None:
        over = picture if beside_picture is None else beside_picture
        panels.append(Panel(_title(beside, other=True), over, mean_map(beside, sample=sample)))
    return AttentionRow(picture, points, tuple(panels), mean)


def _title(seen: Captured, *, other: bool = False) -> str:
    if seen.pooled:
        return f"{KINDS[seen.kind]} block"
    return f"mean map,\n{KINDS[seen.kind]} beside" if other else "mean map"


def _points(seen: Captured, picture: Tensor, queries: str | Sequence[Point], sample: int) -> tuple[Point, ...]:
    if not isinstance(queries, str):
        return tuple(queries)
    if queries != "auto":
        return parse_points(queries, picture.shape[1:])
    if seen.pooled:
        return ()
    return choose_points(_features(seen)[sample])


def _features(seen: Captured) -> Tensor:
    """[N, C, *size]; of a transformer that was not called with tokens, all alike."""
    if seen.kind != "attention":
        return seen.input
    tokens = seen.input
    if tokens.dim() != 3 or tokens.shape[1] != seen.positions:
        return torch.ones(len(tokens), 1, *seen.size)
    return tokens[:, seen.prefix :].transpose(1, 2).unflatten(2, seen.size)
