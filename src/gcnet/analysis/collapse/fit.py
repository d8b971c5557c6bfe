"""The key of the map nearest to the mean maps of a block, the softmax of a linear function of the features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_PENALTY = 1e-2  # on the squared weights of channels of unit deviation; see docs/decisions/0014-collapse.md
_ITERATIONS = 100


def fit_key(features: Sequence[Tensor], maps: Sequence[Tensor]) -> tuple[Tensor, float]:
    """The key w [C] whose maps softmax_j <w, x_j> come closest to given ones, and their total weight.

    w minimises the cross-entropy -sum_j p_j log softmax_j <w, x_j>, a convex problem, by L-BFGS from the uniform map,
    with a penalty that keeps it from following single images. p is the map as a distribution, without the weights of
    the sign that is the rarer one. The total weight t is that of least squares between what both maps pool:
    sum_j m_j x_j = t sum_j softmax_j <w, x_j> x_j.

    Args:
        features: batches [N, C, M].
        maps: batches [N, M] of weights, of any sign and sum.

    Returns:
        w in float64, and t.
    """
    features = [batch.double() for batch in features]
    maps = [batch.double() for batch in maps]
    sign = 1.0 if sum(float(batch.sum()) for batch in maps) >= 0 else -1.0
    targets = [_distribution(sign * batch) for batch in maps]
    images = sum(map(len, maps))
    deviation = torch.stack([batch.std(dim=(0, 2), correction=0) for batch in features]).mean(0)
    unit = torch.where(deviation > 0, deviation, 1.0)
    scaled = [batch / unit[:, None] for batch in features]
    key = torch.zeros_like(unit, requires_grad=True)
    optimizer = torch.optim.LBFGS([key], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        entropies = [
            -(target * _logits(key, batch).log_softmax(1)).sum() for target, batch in zip(targets, scaled, strict=True)
        ]
        value = torch.stack(entropies).sum() / images + _PENALTY * key.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    found = key.detach() / unit
    ours = torch.cat([_pool(_logits(found, batch).softmax(1), batch) for batch in features])
    theirs = torch.cat([_pool(weights, batch) for weights, batch in zip(maps, features, strict=True)])
    return found, float((ours * theirs).sum() / ours.square().sum().clamp(min=torch.finfo(ours.dtype).tiny))


def _logits(key: Tensor, features: Tensor) -> Tensor:
    return torch.einsum("c,ncm->nm", key, features)


def _pool(weights: Tensor, features: Tensor) -> Tensor:
    return torch.einsum("nm,ncm->nc", weights, features)


def _distribution(weights: Tensor) -> Tensor:
    """Positive weights [N, M], normalised; uniform where there are none."""
    positive = weights.clamp(min=0)
    total = positive.sum(1, keepdim=True)
    return torch.where(total > 0, positive / total.clamp(min=torch.finfo(total.dtype).tiny), 1 / weights.shape[1])
