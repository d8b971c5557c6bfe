"""The weights of a collapsed block: one map and one transform for all queries, and that transform at a low rank.

Source: GCNet, Cao et al., arXiv:1904.11492, equations 4 (SNL) and 6 (GC). All in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gcnet.blocks import GlobalContext, NonLocal, SimplifiedNonLocal

#: A block with one map for all queries.
Pooled = SimplifiedNonLocal | GlobalContext


class Linear(NamedTuple):
    """An affine map: weight [out, in] and bias [out]."""

    weight: Tensor
    bias: Tensor


class Bottleneck(NamedTuple):
    """Two maps, ``expand(reduce(x))``: [C] to [hidden] to [C]."""

    reduce: Linear
    expand: Linear


def query_key(block: NonLocal, query: Tensor) -> Tensor:
    """The key w [C] of the map that a softmax block gives to one query: softmax_j <w, x_j>.

    With the logits s <q, W_k x_j + b_k>, w = s W_k^T q; the bias adds the same to every j and cancels.

    Args:
        block: of pairwise function ``gaussian`` or ``embedded_gaussian``.
        query: W_q x + b_q [hidden], or x itself [C] for ``gaussian``.
    """
    scaled = query.double() * (1.0 if block.scale is None else block.scale)
    return scaled if block.key is None else scaled @ block.key.weight.detach().double()


def merged_transform(block: NonLocal, total: float = 1.0) -> Linear:
    """What a block does to sum_j alpha_j x_j behind its map: W_g, W_z and the BatchNorm of evaluation as one map.

    Args:
        block: any non-local block.
        total: sum of the weights of a row, which is 1 under a softmax.

    Example:
        >>> import gcnet
        >>> block = gcnet.NonLocal(8, hidden=4)
        >>> merged_transform(block).weight.shape
        torch.Size([8, 8])
    """
    value, out = block.value, block.out
    norm: Any = block.norm
    out_weight = out.weight.detach().double()
    weight = total * out_weight @ value.weight.detach().double()
    bias = total * out_weight @ value.bias.detach().double()
    if out.bias is not None:
        bias = bias + out.bias.detach().double()
    if norm is not None:
        mean, variance, gamma, beta = (
            tensor.detach().double() for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        factor = gamma / (variance + norm.eps).sqrt()
        weight, bias = factor[:, None] * weight, factor * (bias - mean) + beta
    return Linear(weight, bias)


def low_rank(transform: Linear, hidden: int, contexts: Tensor) -> Bottleneck:
    """The bottleneck closest to a transform over given contexts, in the mean square.

    The hidden units are the first principal components of the transformed contexts: with U [C, hidden] the leading
    eigenvectors of W cov(c) W^T, W c + b becomes U (U^T W c) + b', where b' keeps the mean exact. Directions in which
    the contexts do not vary are ranked by W alone.

    Args:
        transform: of C to C channels.
        hidden: width of the bottleneck.
        contexts: [N, C].
    """
    weight, bias = transform
    basis = _principal(weight, contexts)[1][:, :hidden]
    mean = weight @ contexts.double().mean(0)
    reduce = Linear(basis.T @ weight, torch.zeros(hidden, dtype=weight.dtype, device=weight.device))
    return Bottleneck(reduce, Linear(basis, bias + mean - basis @ (basis.T @ mean)))


def rank_of(transform: Linear, contexts: Tensor, kept: float) -> int:
    """The least rank that keeps the share ``kept`` of the variance of the transformed contexts [N, C]."""
    variance = _principal(transform.weight, contexts)[0]
    shares = variance.cumsum(0) / variance.sum().clamp(min=torch.finfo(variance.dtype).tiny)
    return min(int((shares < kept).sum()) + 1, len(shares))


def _principal(weight: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
    """Variances [C], falling, and directions [C, C] of the principal components of the transformed contexts."""
    centred = contexts.double() - contexts.double().mean(0)
    covariance = centred.T @ centred / len(centred)
    ridge = 1e-6 * covariance.diagonal().mean().clamp(min=torch.finfo(covariance.dtype).tiny)
    spread = covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    variance, directions = torch.linalg.eigh(weight @ spread @ weight.T)
    return variance.flip(0).clamp(min=0), directions.flip(1)


def simplified(key: Tensor, transform: Linear) -> SimplifiedNonLocal:
    """An SNL block with this key [C] and transform."""
    block = SimplifiedNonLocal(len(key), device=key.device, dtype=torch.float64)
    _set(block.key, Linear(key[None], key.new_zeros(1)))
    _set(block.value, transform)
    return block


def global_context(key: Tensor, bottleneck: Bottleneck) -> GlobalContext:
    """A GC block with this key [C] and bottleneck, without LayerNorm and ReLU, which would change the transform."""
    hidden = len(bottleneck.reduce.bias)
    block = GlobalContext(len(key), hidden=hidden, norm=False, relu=False, device=key.device, dtype=torch.float64)
    _set(block.key, Linear(key[None], key.new_zeros(1)))
    transform: Any = block.add
    _set(transform.reduce, bottleneck.reduce)
    _set(transform.expand, bottleneck.expand)
    return block


def pool(key: Tensor, x: Tensor) -> Tensor:
    """The context sum_j softmax_j(<key, x_j>) x_j [N, C] of features [N, C, *spatial]."""
    features = x.flatten(2)
    return torch.einsum("np,ncp->nc", torch.einsum("c,ncp->np", key, features).softmax(1), features)


def pooled_output(block: Pooled, x: Tensor) -> Tensor:
    """What such a block adds to every position of the features [N, C, *spatial]: [N, C]."""
    layers: Any = block
    output = pool(layers.key.weight[0], x.to(layers.key.weight.dtype))
    for layer in (layers.value,) if isinstance(block, SimplifiedNonLocal) else (layers.add.reduce, layers.add.expand):
        output = layer(output)
    return output


def _set(layer: Any, values: Linear) -> None:
    with torch.no_grad():
        layer.weight.copy_(values.weight)
        layer.bias.copy_(values.bias)
