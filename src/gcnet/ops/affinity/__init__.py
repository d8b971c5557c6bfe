"""Non-local aggregation: a context of its own for every query position."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gcnet.ops.affinity import eager, reference
from gcnet.ops.affinity.subsample import max_subsample
from gcnet.ops.backend import choose
from gcnet.ops.precision import full_precision, working_dtype
from gcnet.ops.shapes import check_features, check_shape, has_data

__all__ = ["AFFINITY_LIMIT", "PAIRWISE", "Projection", "add_context", "affinity_map", "non_local", "non_local_context"]

PAIRWISE = ("gaussian", "embedded_gaussian", "dot_product", "concatenation")

#: Largest attention map of one sample, in elements (8 GiB in float32); what needs a larger one raises.
AFFINITY_LIMIT = 2**31

_AGGREGATE = {"reference": reference.aggregate, "eager": eager.aggregate}
_AFFINITY = {"reference": reference.affinity, "eager": eager.affinity}


class Projection(NamedTuple):
    """A 1x1 convolution: weight [out, in] and bias [out] or None."""

    weight: Tensor
    bias: Tensor | None = None


def non_local(
    x: Tensor,
    *,
    value: Projection,
    out: Projection,
    query: Projection | None = None,
    key: Projection | None = None,
    pairwise: str = "embedded_gaussian",
    concat_weight: Tensor | None = None,
    scale: float | None = None,
    subsample: str | None = None,
    subsample_size: int | tuple[int, ...] = 2,
) -> Tensor:
    """Non-local block, Wang et al. (arXiv:1711.07971) equations 1-6: y_i = x_i + W_z sum_j omega_ij W_g x_j.

    omega is softmax_j of <x_i, x_j> (``gaussian``) or <W_q x_i, W_k x_j> (``embedded_gaussian``), times ``scale``;
    <W_q x_i, W_k x_j> / M (``dot_product``); or ReLU(w_f [W_q x_i, W_k x_j]) / M (``concatenation``), over M keys.

    Memory is linear in P and M. The softmax functions go through scaled_dot_product_attention, the dot product is
    re-associated, concatenation is sorted; small maps are laid out, where that is faster. A concatenation exported by
    ``torch.export`` lays its map out too, as sorted search is missing in most programs that run it.

    Args:
        x: features [N, C, *spatial] of P positions.
        value: W_g [inner, C].
        out: W_z [C, inner].
        query: W_q [d, C]; None for ``gaussian``.
        key: W_k [d, C]; None for ``gaussian``.
        pairwise: one of the four functions.
        concat_weight: w_f [1, 2 d], for ``concatenation`` only.
        scale: factor of the logits of the two softmax functions, usually d ** -0.5; None means 1.
        subsample: None, or max-pool keys and values ``"before"`` or ``"after"`` their projection.
        subsample_size: window and stride of that pooling, one int or one per spatial axis, clipped to the map.

    Returns:
        [N, C, *spatial] in the dtype and memory format of ``x``; inside, at least float32.

    Raises:
        ValueError: arguments that do not go together. Second derivatives, forward mode, functorch transforms and the
            reference, which need the attention map, raise where that of one sample has more than
            ``AFFINITY_LIMIT`` elements.

    Example:
        >>> import torch
        >>> from gcnet import ops
        >>> weight = torch.eye(8)
        >>> x = torch.randn(2, 8, 5, 5)
        >>> ops.non_local(x, value=ops.Projection(weight), out=ops.Projection(0 * weight), pairwise="gaussian").equal(x)
        True
    """
    context = non_local_context(
        x,
        value=value,
        out=out,
        query=query,
        key=key,
        pairwise=pairwise,
        concat_weight=concat_weight,
        scale=scale,
        subsample=subsample,
        subsample_size=subsample_size,
    )
    return add_context(x, context)


def non_local_context(
    x: Tensor,
    *,
    value: Projection,
    out: Projection,
    query: Projection | None,
    key: Projection | None,
    pairwise: str,
    concat_weight: Tensor | None,
    scale: float | None,
    subsample: str | None,
    subsample_size: int | tuple[int, ...],
) -> Tensor:
    """The context of every position before fusion, W_z sum_j omega_ij W_g x_j: [N, C, P], at least float32."""
    with full_precision(x):
        x = x.to(working_dtype(x, value.weight))
        _check_widths(x, value=value, query=query, key=key)
        _check_out(x, value, out)
        queries, keys = queries_and_keys(x, query, key, pairwise, concat_weight, scale, subsample, subsample_size)
        values = _project(x, value, subsample, subsample_size, rows=pairwise == "concatenation")
        aggregate = choose("non_local", _AGGREGATE)
        context = aggregate(queries, keys, values, pairwise, scale, concat_weight)
        if _channels_are_first(x):
            return _linear_first(context.transpose(1, 2), out)
        return _linear(context, out).transpose(1, 2)


def affinity_map(
    x: Tensor,
    *,
    query: Projection | None,
    key: Projection | None,
    pairwise: str,
    concat_weight: Tensor | None = None,
    scale: float | None = None,
    subsample: str | None = None,
    subsample_size: int | tuple[int, ...] = 2,
) -> Tensor:
    """Attention map of a non-local block, omega [N, P, M]: one row of weights over M keys for each of P queries.

    Arguments as :func:`non_local`. Float32 or wider. The rows of the two softmax functions sum to 1.

    Raises:
        ValueError: as :func:`non_local`, and for a map of one sample beyond ``AFFINITY_LIMIT`` elements.

    Example:
        >>> import torch
        >>> from gcnet import ops
        >>> ops.affinity_map(torch.zeros(2, 8, 5, 5), query=None, key=None, pairwise="gaussian")[0, 0, 0].item()
        0.0399...
    """
    with full_precision(x):
        _check_widths(x, query=query, key=key)
        x = x.to(working_dtype(x, None if query is None else query.weight))
        queries, keys = queries_and_keys(x, query, key, pairwise, concat_weight, scale, subsample, subsample_size)
        return choose("affinity_map", _AFFINITY)(queries, keys, pairwise, scale, concat_weight)


def add_context(x: Tensor, context: Tensor) -> Tensor:
    """Fusion by addition of a context [N, C, P] to x [N, C, *spatial], in the dtype and memory format of ``x``."""
    return (x + context.reshape(x.shape)).to(x.dtype)


def queries_and_keys(
    x: Tensor,
    query: Projection | None,
    key: Projection | None,
    pairwise: str,
    concat_weight: Tensor | None,
    scale: float | None,
    subsample: str | None,
    subsample_size: int | tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    _check_arguments(query, key, pairwise, concat_weight, scale, subsample)
    queries = _project(x, query, None, subsample_size)
    keys = _project(x, key, subsample, subsample_size)
    return queries, keys


def _project(
    x: Tensor,
    projection: Projection | None,
    subsample: str | None,
    size: int | tuple[int, ...],
    rows: bool = False,
) -> Tensor:
    """[N, C, *spatial] to [N, positions, width], max-pooled before or after the projection on request.

    With ``rows`` the result is laid out position after position.
    """
    if subsample is None or projection is None or subsample == "before":
        if subsample is not None:
            x = max_subsample(x, size)
        if projection is not None and _channels_are_first(x) and not rows:
            return _linear_first(x.flatten(2), projection).transpose(1, 2)
        return _linear(x.flatten(2).transpose(1, 2), projection)
    projected = _linear(x.flatten(2).transpose(1, 2), projection).transpose(1, 2)
    return max_subsample(projected.unflatten(2, x.shape[2:]), size).flatten(2).transpose(1, 2)


def _channels_are_first(x: Tensor) -> bool:
    """Whether ``x`` is [N, C, P] in memory, so that W x needs no transposed copy. Not asked of sizes without data."""
    return has_data(x) and not torch.compiler.is_compiling() and x.is_contiguous()


def _linear_first(x: Tensor, projection: Projection) -> Tensor:
    """[N, C, P] to [N, width, P]."""
    weight = projection.weight.to(x.dtype)
    bias = None if projection.bias is None else projection.bias.to(x.dtype)
    if x.device.type == "cpu":  # a convolution has a faster library behind it here; on CUDA it might round to TF32
        return F.conv1d(x, weight.unsqueeze(2), bias)
    weight = weight.expand(x.shape[0], -1, -1)
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias.unsqueeze(1), weight, x)


def _linear(x: Tensor, projection: Projection | None) -> Tensor:
    if projection is None:
        return x
    bias = None if projection.bias is None else projection.bias.to(x.dtype)
    return F.linear(x, projection.weight.to(x.dtype), bias)


def _check_widths(x: Tensor, **projections: Projection | None) -> None:
    check_features(x)
    for name, projection in projections.items():
        if projection is None:
            continue
        if not isinstance(projection, Projection):
            raise TypeError(f"{name}: expected a gcnet.ops.Projection, got {type(projection).__name__}")
        if projection.weight.dim() != 2:
            raise ValueError(f"{name}.weight: expected [width, C], got {list(projection.weight.shape)}")
        width = projection.weight.shape[0]
        check_shape(f"{name}.weight", projection.weight, (width, x.shape[1]), x)
        if projection.bias is not None:
            check_shape(f"{name}.bias", projection.bias, (width,), x)


def _check_out(x: Tensor, value: Projection, out: Projection) -> None:
    if not isinstance(out, Projection):
        raise TypeError(f"out: expected a gcnet.ops.Projection, got {type(out).__name__}")
    check_shape("out.weight", out.weight, (x.shape[1], value.weight.shape[0]), x)
    if out.bias is not None:
        check_shape("out.bias", out.bias, (x.shape[1],), x)


def _check_arguments(
    query: Projection | None,
    key: Projection | None,
    pairwise: str,
    concat_weight: Tensor | None,
    scale: float | None,
    subsample: str | None,
) -> None:
    if pairwise not in PAIRWISE:
        raise ValueError(f"pairwise={pairwise!r} is not one of {', '.join(map(repr, PAIRWISE))}")
    given = {query is not None, key is not None}
    if given != {pairwise != "gaussian"}:
        needs = "no query= and key=" if pairwise == "gaussian" else "both query= and key="
        raise ValueError(f"pairwise={pairwise!r} takes {needs}")
    if (concat_weight is not None) != (pairwise == "concatenation"):
        raise ValueError(f"concat_weight= goes with pairwise='concatenation' and only with it, got {pairwise!r}")
    if query is not None and key is not None:
        widths = query.weight.shape[0], key.weight.shape[0]
        if widths[0] != widths[1]:
            raise ValueError(f"query and key must have one width, got {widths[0]} and {widths[1]}")
        if concat_weight is not None and tuple(concat_weight.shape) != (1, 2 * widths[0]):
            raise ValueError(f"concat_weight: expected [1, {2 * widths[0]}], got {list(concat_weight.shape)}")
    if scale is not None and pairwise in ("dot_product", "concatenation"):
        raise ValueError(f"scale={scale} goes with the softmax functions; {pairwise!r} divides by the number of keys")
    if subsample not in (None, "before", "after"):
        raise ValueError(f"subsample={subsample!r} is not one of None, 'before', 'after'")
