"""Non-local blocks: a map for every query, from the features and the weights of the block."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gcnet.analysis.capture.keep import kept, kept_all
from gcnet.blocks import NonLocal
from gcnet.ops import Projection
from gcnet.ops.affinity import non_local_context, queries_and_keys
from gcnet.ops.affinity.explicit import affinity
from gcnet.ops.precision import full_precision, saturate, working_dtype


class _Norm(NamedTuple):
    """BatchNorm of a non-local block; without mean and variance it takes those of the batch."""

    weight: Tensor
    bias: Tensor
    mean: Tensor | None
    variance: Tensor | None
    eps: float

    def __call__(self, y: Tensor) -> Tensor:
        training = self.mean is None
        return F.batch_norm(
            saturate(y, self.weight), self.mean, self.variance, self.weight, self.bias, training, 0.0, self.eps
        )


@dataclass(frozen=True, eq=False)
class NonLocalSource:
    """A map for every query, from the features and the weights of the block."""

    features: Tensor
    value: Projection
    out: Projection
    query_weights: Projection | None
    key_weights: Projection | None
    norm: _Norm | None
    pairwise: str
    scale: float | None
    concat_weight: Tensor | None
    subsample: str | None
    subsample_size: int | tuple[int, ...]
    positions: Tensor | None

    @property
    def softmax(self) -> bool:
        """Whether rows are distributions."""
        return self.pairwise in ("gaussian", "embedded_gaussian")

    @property
    def query(self) -> Tensor:
        """[N, 1, Q, d]."""
        return self._pair[0]

    @property
    def key(self) -> Tensor:
        """[N, 1, M, d]."""
        return self._pair[1]

    @cached_property
    @torch.no_grad()
    def _pair(self) -> tuple[Tensor, Tensor]:
        weight = None if self.query_weights is None else self.query_weights.weight
        with full_precision(self.features):
            query, key = queries_and_keys(self.features.to(working_dtype(self.features, weight)), **self._shared())
        if self.positions is not None:
            query = query[:, self.positions]
        return query[:, None], key[:, None]

    @torch.no_grad()
    def rows(self, queries: Tensor | None) -> Tensor:
        """[N, 1, Q, M]."""
        query = self.query[:, 0] if queries is None else self.query[:, 0, queries.to(self.query.device)]
        with full_precision(query):
            return affinity(query, self.key[:, 0], self.pairwise, self.scale, self.concat_weight)[:, None]

    @torch.no_grad()
    def output(self) -> Tensor:
        """[N, C, *size], or [N, C, Q] for chosen queries."""
        with full_precision(self.features):
            context = non_local_context(self.features, value=self.value, out=self.out, **self._shared())
            context = context if self.norm is None else self.norm(context)
        if self.positions is not None:
            return context[:, :, self.positions]
        return context.reshape(self.features.shape)

    def _shared(self) -> dict[str, Any]:
        return {
            "query": self.query_weights,
            "key": self.key_weights,
            "pairwise": self.pairwise,
            "concat_weight": self.concat_weight,
            "scale": self.scale,
            "subsample": self.subsample,
            "subsample_size": self.subsample_size,
        }


def non_local_source(
    block: NonLocal, features: Tensor, queries: tuple[int, ...] | None, device: torch.device | None
) -> NonLocalSource:
    """Features that are kept already, and copies of the weights of a non-local block."""

    def projection(layer: nn.Linear | None) -> Any:
        return kept_all(None if layer is None else Projection(layer.weight, layer.bias), device)

    return NonLocalSource(
        features,
        projection(block.value),
        projection(block.out),
        projection(block.query),
        projection(block.key),
        None if block.norm is None else kept_all(_norm(block.norm), device),
        block.pairwise,
        block.scale,
        None if block.concat is None else kept(block.concat.weight, device),
        block.subsample,
        block.subsample_size,
        None if queries is None else torch.tensor(queries, device=features.device),
    )


def _norm(norm: Any) -> _Norm:
    of_batch = norm.training or norm.running_mean is None
    mean, variance = (None, None) if of_batch else (norm.running_mean, norm.running_var)
    return _Norm(norm.weight, norm.bias, mean, variance, norm.eps)


def key_stride(block: NonLocal, size: tuple[int, ...]) -> tuple[int, ...]:
    """Positions per key along each spatial axis, more than 1 where keys are sub-sampled."""
    if block.subsample is None:
        return (1,) * len(size)
    window = block.subsample_size
    windows = (window,) * len(size) if isinstance(window, int) else window
    return tuple(map(min, size, windows))
