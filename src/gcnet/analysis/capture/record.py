"""What was seen of one call of an attention layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Protocol

import torch
from torch import Tensor

from gcnet.analysis.capture.queries import position_of

#: Kinds of attention -> what figures and tables call them.
KINDS = {"global_context": "GC", "simplified_non_local": "SNL", "non_local": "NL", "attention": "attention"}
#: Those with one map for all queries.
POOLED = ("global_context", "simplified_non_local")


class Source(Protocol):
    """Where maps and output come from, computed when they are asked for."""

    @property
    def query(self) -> Tensor | None:
        """[N, heads, Q, d]; None without queries."""

    @property
    def key(self) -> Tensor | None:
        """[N, heads, M, d]; None without queries."""

    @property
    def softmax(self) -> bool:
        """Whether rows are distributions."""

    def rows(self, queries: Tensor | None) -> Tensor:
        """[N, heads, Q, M] for some of the queries, or all."""

    def output(self) -> Tensor:
        """What is fused with the input."""


@dataclass(frozen=True, eq=False)
class Captured:
    """One call of a block or of an attention layer.

    What is kept grows with the number of positions P: the input, and for ``"attention"`` queries, keys and values. The
    map with its P x M elements is not: :meth:`rows` computes the rows that are asked for. Everything is a copy without
    a graph, in the dtype that the network computed in; maps and outputs are float32 or wider.

    Attributes:
        path: of the module.
        kind: ``"global_context"``, ``"simplified_non_local"``, ``"non_local"`` or, for a softmax attention of a
            transformer, ``"attention"``.
        input: [N, C, *size]; of a transformer tokens [N, L, C], or what the layer was called with if it takes others.
            It is whole also where only some queries are kept.
        size: spatial axes of the queries; (P,) where tokens lie on no grid that is known.
        key_size: spatial axes of the keys; other than ``size`` where keys were sub-sampled.
        heads: number of maps per sample; 1 for the blocks.
        prefix: tokens before those of the picture, such as the class token, among the queries.
        key_prefix: the same among the keys.
        key_stride: positions per key along each axis, more than 1 where keys were sub-sampled; empty where unknown.
        windows: windows per picture, where a layer attends within windows (Swin): its samples are windows then,
            and ``size`` that of one window.
        queries: indices of the positions whose queries were kept, None for all.
    """

    path: str
    kind: str
    input: Tensor = field(repr=False)
    size: tuple[int, ...]
    key_size: tuple[int, ...]
    source: Source = field(repr=False)
    heads: int = 1
    prefix: int = 0
    key_prefix: int = 0
    key_stride: tuple[int, ...] = ()
    windows: int = 1
    queries: tuple[int, ...] | None = None

    @property
    def pooled(self) -> bool:
        """Whether one map serves all queries."""
        return self.kind in POOLED

    @property
    def softmax(self) -> bool:
        """Whether rows are distributions, as they are not for dot products and concatenation."""
        return self.source.softmax

    @property
    def positions(self) -> int:
        """P, number of positions that ask, tokens of the prefix included."""
        return self.prefix + prod(self.size)

    @property
    def reach(self) -> tuple[float, ...]:
        """Share of each axis that the keys cover; below 1 where sub-sampling leaves a rest over."""
        if not self.key_stride:
            return (1.0,) * len(self.key_size)
        covered = zip(self.key_size, self.key_stride, self.size, strict=True)
        return tuple(keys * stride / extent for keys, stride, extent in covered)

    @property
    def query(self) -> Tensor | None:
        """[N, heads, Q, d], Q = P unless only some queries were kept; None where there are none.

        There are none in pooled blocks, and where a network lays its map out itself.
        """
        return self.source.query

    @property
    def key(self) -> Tensor | None:
        """[N, heads, M, d]; None where ``query`` is."""
        return self.source.key

    @cached_property
    def output(self) -> Tensor:
        """What is fused with the input.

        - of a non-local block [N, C, *size]: W_z times the context, after its norm; [N, C, Q] for chosen queries;
        - of a pooled block [N, C]: the term that is added; with ``fusion="scale"`` alone, the factor;
        - of a transformer [N, heads, Q, d]: per head, attention times values, before the projection.
        """
        return self.source.output()

    @property
    def attention(self) -> Tensor:
        """The whole map: [N, M] of a pooled block, [N, Q, M] of a non-local block, [N, heads, Q, M] else.

        Raises:
            ValueError: beyond ``gcnet.ops.affinity.AFFINITY_LIMIT`` elements per sample and head; ask for :meth:`rows`.
        """
        if self.pooled:
            return self.source.rows(None)[:, 0, 0]
        rows = self.source.rows(None)
        return rows[:, 0] if self.kind == "non_local" else rows

    def rows(self, queries: Sequence[int] | Tensor | None = None) -> Tensor:
        """Rows of the map for some queries: [N, heads, Q, M], before any dropout.

        Args:
            queries: indices among the kept queries; all by default. A pooled block has the same row for each. A query
                that a mask leaves nothing to attend to has a row of zeros.
        """
        chosen = None if queries is None else torch.as_tensor(queries, dtype=torch.long)
        if self.pooled:
            count = self.positions if chosen is None else len(chosen)
            return self.source.rows(None).expand(-1, 1, count, -1)
        return self.source.rows(chosen)

    def map(self, query: int, *, sample: int = 0, head: int = 0) -> Tensor:
        """One row over the grid of the keys, without tokens of the prefix: [*key_size].

        Args:
            query: index among the kept queries, such as :meth:`position` gives where all are kept.
            sample: of the batch.
            head: of a transformer.
        """
        return self.rows([query])[sample, head, 0, self.key_prefix :].unflatten(0, self.key_size)

    def position(self, *shares: float) -> int:
        """Index of the position at shares of the axes, such as ``position(0.5, 0.25)`` for (y, x).

        Raises:
            ValueError: another number of axes than ``size`` has, or a share outside of 0 to 1.
        """
        return position_of(shares, self.size, self.prefix, self.path)

    @property
    def nbytes(self) -> int:
        """Bytes kept at present; queries and keys of blocks are added when they are first asked for."""
        found = [tensor for held in (vars(self), vars(self.source)) for tensor in _tensors(tuple(held.values()))]
        return sum({id(tensor): tensor.nbytes for tensor in found}.values())


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)
