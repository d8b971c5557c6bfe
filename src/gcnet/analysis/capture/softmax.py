"""Softmax attention of transformers, from kept queries, keys and values, or from a map that the network laid out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gcnet.ops.affinity.limit import check_map
from gcnet.ops.precision import full_precision, working_dtype

_CHUNK = 1024  # queries whose rows are laid out at once


@dataclass(frozen=True, eq=False)
class SoftmaxSource:
    """softmax(scale q k^T + mask), row by row when asked for.

    Attributes:
        query: [N, heads, Q, d].
        key: [N, key heads, M, d]; fewer heads are shared by groups of query heads.
        value: [N, key heads, M, dv].
        scale: factor of the products.
        mask: True where a query may attend, or a term that is added: broadcast to [N, heads, Q, M].
        reach: index of the last key each query may attend to, [Q]; None for all.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    mask: Tensor | None = None
    reach: Tensor | None = None
    softmax: bool = True

    @torch.no_grad()
    def rows(self, queries: Tensor | None) -> Tensor:
        """[N, heads, Q, M]."""
        query = self.query
        chosen = torch.arange(query.shape[2]) if queries is None else queries
        chosen = chosen.to(query.device)
        dtype = working_dtype(query)
        with full_precision(query):
            query = (query[:, :, chosen]).to(dtype) * self.scale
            key = _repeated(self.key, query.shape[1]).to(dtype)
            check_map(query.flatten(0, 1), key.flatten(0, 1))
            logits = query @ key.transpose(2, 3)
            if self.mask is not None:
                mask = self.mask if self.mask.shape[2] == 1 else self.mask[:, :, chosen]
                logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
            if self.reach is not None:
                beyond = torch.arange(key.shape[2], device=key.device) > self.reach[chosen, None]
                logits = logits.masked_fill(beyond, -torch.inf)
            nothing = (logits == -torch.inf).all(dim=3, keepdim=True)
            return torch.softmax(logits, dim=3).masked_fill(nothing, 0)

    @torch.no_grad()
    def output(self) -> Tensor:
        """[N, heads, Q, dv]."""
        value = _repeated(self.value, self.query.shape[1])
        parts = torch.arange(self.query.shape[2]).split(_CHUNK)
        with full_precision(value):
            value = value.to(working_dtype(value))
            return torch.cat([self.rows(part) @ value for part in parts], dim=2)


@dataclass(frozen=True, eq=False)
class MapSource:
    """A map [N, heads, Q, M] as the network laid it out, and its values [N, heads, M, dv].

    Rows that were rounded to half precision are made to sum to 1 again.
    """

    weights: Tensor
    value: Tensor
    query: None = None
    key: None = None
    softmax: bool = True

    @torch.no_grad()
    def rows(self, queries: Tensor | None) -> Tensor:
        """[N, heads, Q, M]."""
        weights = self.weights if queries is None else self.weights[:, :, queries.to(self.weights.device)]
        rows = weights.to(working_dtype(weights))
        if rows.dtype == weights.dtype:
            return rows
        sums = rows.sum(3, keepdim=True)
        return rows / sums.where(sums > 0, 1)

    @torch.no_grad()
    def output(self) -> Tensor:
        """[N, heads, Q, dv]."""
        with full_precision(self.value):
            return self.rows(None) @ self.value.to(working_dtype(self.value))


def _repeated(tensor: Tensor, heads: int) -> Tensor:
    """[N, key heads, M, d] with a head of its own for each query head."""
    groups = heads // tensor.shape[1]
    return tensor if groups == 1 else tensor.repeat_interleave(groups, dim=1)
