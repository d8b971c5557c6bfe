"""What a collapse did to a network, and how to take it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from torch import nn

from gcnet.analysis.bootstrap import Interval
from gcnet.analysis.table import format_table, with_unit
from gcnet.insertion.attach import check_unwrapped
from gcnet.insertion.places import Holders, check_in_place, put


class QueryDependentError(ValueError):
    """No block could be collapsed, because the attention of all depends on the query."""


@dataclass(frozen=True)
class CollapsedBlock:
    """A non-local block that was replaced.

    Attributes:
        path: module path; several, joined by `` = ``, where one block is shared.
        now: the new block, as its specification.
        attention: average cosine distance between the rows of its map, over images, with a bootstrap interval.
        variation: ||y_i - mean_i y_i|| / ||y_i|| of its output before fusion, likewise.
        merged: relative error of the new block's output right after merging.
        error: the same in the end; other than ``merged`` after distillation only.
        params_before: parameters of the old block.
        params: parameters of the new block.
        forced: whether a threshold was overridden.
    """

    path: str
    now: str
    attention: Interval
    variation: Interval
    merged: float
    error: float
    params_before: int
    params: int
    forced: bool


@dataclass(frozen=True)
class LeftBlock:
    """A non-local block that stays, and why; without figures where it did not run."""

    path: str
    reason: str
    attention: Interval | None = None
    variation: Interval | None = None


class Pair(NamedTuple):
    """The old block, the new one, and who holds it under which name."""

    old: nn.Module
    new: nn.Module
    holders: Holders


@dataclass(frozen=True)
class CollapseReport:
    """What :func:`gcnet.analysis.collapse.collapse` did; printable. Length and iteration are those of ``collapsed``.

    Attributes:
        collapsed: the blocks that were replaced.
        left: non-local blocks that stay.
        images: that were looked at.
        threshold: largest cosine distance of the attention.
        tolerance: largest variation of the output.
    """

    collapsed: tuple[CollapsedBlock, ...]
    left: tuple[LeftBlock, ...]
    images: int
    threshold: float
    tolerance: float
    _model: nn.Module = field(repr=False, compare=False)
    _pairs: list[Pair] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.collapsed)

    def __iter__(self) -> Iterator[CollapsedBlock]:
        return iter(self.collapsed)

    def __str__(self) -> str:
        head = ("block", "now", "attention distance", "output varies", "error merged", "in the end", "parameters")
        rows = [
            (
                block.path,
                block.now,
                str(block.attention),
                str(block.variation),
                f"{block.merged:.3f}",
                f"{block.error:.3f}",
                f"{with_unit(block.params_before)} -> {with_unit(block.params)}",
            )
            for block in self
        ]
        lines = [format_table(head, rows, left=2), *(f"left: {block.path}: {block.reason}" for block in self.left)]
        forced = [block.path for block in self if block.forced]
        if forced:
            lines.append(f"forced, whatever the data say: {', '.join(forced)}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "collapsed": [asdict(block) for block in self.collapsed],
            "left": [asdict(block) for block in self.left],
            **{name: getattr(self, name) for name in ("images", "threshold", "tolerance")},
        }

    def undo(self) -> None:
        """Put the original blocks back: the same objects, so that the network gives the same bits as before.

        Raises:
            RuntimeError: undone already, other blocks are there by now, or the model is compiled or distributed.
        """
        check_unwrapped(self._model, "put back")
        if not self._pairs:
            raise RuntimeError("this collapse was undone already")
        for pair, block in zip(self._pairs, self.collapsed, strict=True):
            check_in_place(pair.holders, pair.new, block.path, by="collapse")
        for pair in self._pairs:
            put(pair.holders, pair.old)
        self._pairs.clear()
