"""What was seen of one attention: its queries and keys, and the rows of the map for any queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor

from gcnet.ops.affinity.explicit import affinity

#: Kinds of attention. The first two have one map for all queries.
KINDS = ("global_context", "simplified_non_local", "non_local", "attention")


@dataclass(frozen=True, eq=False)
class Captured:
    """One call of a block or of an attention layer.

    The map is not laid out: what is kept grows with the number of positions, and :meth:`rows` computes the rows that
    are asked for from queries and keys.

    Attributes:
        path: of the module.
        kind: ``"global_context"``, ``"simplified_non_local"``, ``"non_local"`` or, for a softmax attention of a
            transformer, ``"attention"``.
        input: [N, C, *size], or tokens [N, L, C] of a transformer.
        output: what is fused with the input: [N, C, *size], of a pooled block [N, C], of a transformer [N, L, C].
        size: spatial axes of the queries.
        key_size: spatial axes of the keys; other than ``size`` where keys were sub-sampled.
        heads: number of maps per sample; 1 for the blocks.
        prefix: tokens before those of the picture, such as the class token, among queries and keys.
    """

    path: str
    kind: str
    input: Tensor
    output: Tensor
    size: tuple[int, ...]
    key_size: tuple[int, ...]
    heads: int = 1
    prefix: int = 0
    query: Tensor | None = field(default=None, repr=False)  # [N, heads, P, d]
    key: Tensor | None = field(default=None, repr=False)  # [N, heads, M, d]
    weights: Tensor | None = field(default=None, repr=False)  # [N, M] of a pooled block
    pairwise: str = "embedded_gaussian"
    scale: float | None = None
    concat_weight: Tensor | None = field(default=None, repr=False)

    @property
    def pooled(self) -> bool:
        """Whether one map serves all queries."""
        return self.weights is not None

    @property
    def softmax(self) -> bool:
        """Whether rows are distributions."""
        return self.pairwise in ("gaussian", "embedded_gaussian")

    @property
    def positions(self) -> int:
        """P, number of queries, tokens of the prefix included."""
        return self.prefix + prod(self.size)

    @property
    def attention(self) -> Tensor:
        """The whole map: [N, M] of a pooled block, [N, P, M] of a non-local block, [N, heads, P, M] else."""
        if self.weights is not None:
            return self.weights
        rows = self.rows()
        return rows[:, 0] if self.kind == "non_local" else rows

    def rows(self, queries: Sequence[int] | Tensor | None = None) -> Tensor:
        """Rows of the map for some queries: [N, heads, Q, M].

        Args:
            queries: indices of positions; all by default. A pooled block has the same row for each.
        """
        if self.weights is not None:
            count = self.positions if queries is None else len(queries)
            return self.weights[:, None, None].expand(-1, 1, count, -1)
        assert self.query is not None
        assert self.key is not None
        query = self.query if queries is None else self.query[:, :, torch.as_tensor(queries, device=self.query.device)]
        rows = affinity(query.flatten(0, 1), self.key.flatten(0, 1), self.pairwise, self.scale, self.concat_weight)
        return rows.unflatten(0, (-1, self.heads))
