"""Maps of one sample out of what was captured, and the choice of the block they are taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from gcnet.analysis.capture import Captured
from gcnet.analysis.figures.points import Point
from gcnet.blocks.base import check_choice

LEAST = 4  # rows and columns of a map that can be looked at
_CHUNK = 1024  # queries at a time


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Attention over one picture or clip.

    Attributes:
        weights: [H', W'] or [T', H', W'], relative to uniform: weight times number of keys, 1 where all are alike.
        keys: number of keys, tokens before those of the picture included.
        reach: share of each axis that the keys cover; below 1 where sub-sampling leaves a rest over.
        softmax: whether the weights of all keys are shares of one whole.
    """

    weights: Tensor
    keys: int
    reach: tuple[float, ...]
    softmax: bool = True

    @property
    def signed(self) -> bool:
        """Whether there are negative weights, as dot products have."""
        return bool((self.weights < 0).any())


def choose_block(maps: Mapping[str, Captured], block: str | None = None) -> str:
    """Path of the block to look at: by default the last one whose map is at least 4 high and wide, or else the last.

    Args:
        maps: of :func:`gcnet.analysis.capture.capture`, not empty.
        block: path of the block, or of the module that it alone is in.

    Raises:
        ValueError: no such block.

    Example:
        >>> import gcnet
        >>> from gcnet.analysis.capture import capture
        >>> net = torch.nn.Sequential(gcnet.NonLocal(8), torch.nn.MaxPool2d(4), gcnet.NonLocal(8))
        >>> with capture(net) as maps:
        ...     _ = net(torch.randn(1, 8, 8, 8))
        >>> choose_block(maps), choose_block(maps, "2")
        ('0', '2')
    """
    if block is None:
        whole = [path for path in maps if map_obstacle(maps[path]) is None]
        large = [path for path in whole if min(maps[path].size[-2:]) >= LEAST]
        return (large or whole or list(maps))[-1]
    inside = [path for path in maps if path.startswith(f"{block}.")]
    if block not in maps and len(inside) == 1:
        return inside[0]
    check_choice("block", block, maps)
    return block


def same_layer(maps: Mapping[str, Captured], seen: Captured) -> Captured:
    """The block of another network to put beside one: at the same path, or of the same size, or the default one."""
    alike = [path for path in maps if maps[path].size == seen.size and map_obstacle(maps[path]) is None]
    return maps[seen.path if seen.path in maps else alike[-1] if alike else choose_block(maps)]


def pooled_neighbour(maps: Mapping[str, Captured], seen: Captured) -> Captured | None:
    """Another block of the same module, with one map for all queries; None if there is none."""
    module = seen.path.rpartition(".")[0]
    found = [
        other
        for path, other in maps.items()
        if other.pooled and path != seen.path and path.rpartition(".")[0] == module
    ]
    return found[-1] if found else None


def query_maps(
    seen: Captured, points: Sequence[Point], *, sample: int = 0, head: int | None = None
) -> list[AttentionMap]:
    """The map of each query point; of a pooled block the same one.

    Args:
        seen: a captured block.
        points: shares along the axes of the picture.
        sample: of the batch.
        head: of a transformer, from 0; by default the mean of all heads.

    Raises:
        ValueError: no such head; attention within windows, or over tokens on no grid that is known.

    Example:
        >>> import gcnet
        >>> from gcnet.analysis.capture import capture
        >>> net = gcnet.NonLocal(8, subsample="after")
        >>> with capture(net) as maps:
        ...     _ = net(torch.randn(1, 8, 7, 9))
        >>> found = query_maps(next(iter(maps.values())), [(0.5, 0.5)])[0]
        >>> found.weights.shape, found.keys, found.reach
        (torch.Size([3, 4]), 12, (0.8571428571428571, 0.8888888888888888))
    """
    queries = [seen.position(*point) for point in points]
    return [_map(seen, row) for row in _rows(seen, queries, sample, head)] if queries else []


def mean_map(seen: Captured, *, sample: int = 0, head: int | None = None) -> AttentionMap:
    """The mean of the maps of all queries; arguments and errors of :func:`query_maps`.

    Example:
        >>> import gcnet
        >>> from gcnet.analysis.capture import capture
        >>> net = gcnet.NonLocal(8)
        >>> with capture(net) as maps:
        ...     _ = net(torch.randn(1, 8, 4, 4))
        >>> round(mean_map(next(iter(maps.values()))).weights.mean().item(), 5)
        1.0
    """
    if seen.pooled:
        return query_maps(seen, [(0.5,) * len(seen.size)], sample=sample, head=head)[0]
    queries = range(seen.prefix, seen.positions)
    chunks = [queries[start : start + _CHUNK] for start in range(0, len(queries), _CHUNK)]
    total = sum(_rows(seen, chunk, sample, head).sum(0) for chunk in chunks)
    return _map(seen, total / len(queries))  # type: ignore[arg-type]


def _rows(seen: Captured, queries: Sequence[int], sample: int, head: int | None) -> Tensor:
    """[Q, M] of one sample."""
    if obstacle := map_obstacle(seen):
        raise ValueError(
            f"{seen.path}: attends {obstacle}, and its maps cannot be laid over the picture; choose another block"
        )
    if head is not None and not 0 <= head < seen.heads:
        heads = f"heads 0 to {seen.heads - 1}" if seen.heads > 1 else "one head, 0"
        raise ValueError(f"head={head}: {seen.path} has {heads}")
    with torch.no_grad():
        rows = seen.rows(queries)[sample].double().cpu()
    return rows.mean(0) if head is None else rows[head]


def map_obstacle(seen: Captured) -> str | None:
    """What a layer attends to that does not lie over a picture; None if its maps do."""
    if seen.windows > 1:
        return f"within {seen.windows} windows of {' x '.join(map(str, seen.size))}"
    return "over tokens on no grid that is known" if len(seen.size) < 2 else None


def _map(seen: Captured, row: Tensor) -> AttentionMap:
    weights = row[len(row) - prod(seen.key_size) :].view(seen.key_size) * len(row)
    return AttentionMap(weights, len(row), seen.reach, seen.softmax)
