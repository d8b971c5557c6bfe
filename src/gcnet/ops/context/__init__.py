"""Global context: one context for all positions, mixed over channels, brought back to every position."""

from __future__ import annotations

import torch
from torch import Tensor

from gcnet.ops.backend import choose
from gcnet.ops.context import composition, reference
from gcnet.ops.context.dispatch import context_block
from gcnet.ops.context.transform import Transform
from gcnet.ops.shapes import check_features, check_shape

__all__ = ["Transform", "attention_map", "global_context", "simplified_non_local", "squeeze_excite"]

_ATTENTION = {"reference": reference.attention, "eager": composition.attention}
_GATES = ("sigmoid", "hard_sigmoid")


def global_context(
    x: Tensor,
    key_weight: Tensor | None,
    key_bias: Tensor | None = None,
    *,
    scale: Transform | None = None,
    add: Transform | None = None,
    gate: str = "sigmoid",
    centred: bool = False,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Global-context block, GCNet (arXiv:1904.11492) equations 5 and 6.

    context = sum_j softmax_j(W_k x_j) x_j, then ``y_i = x_i * gate(scale(context)) + add(context)``.

    Args:
        x: features [N, C, *spatial], any number of spatial axes, any memory format.
        key_weight: W_k [1, C]; None pools by the average instead of by attention.
        key_bias: [1]. It cancels in the softmax and is accepted for checkpoint compatibility.
        scale: transform of the multiplicative fusion, or None.
        add: transform of the additive fusion, or None. With both, scaling comes first.
        gate: ``"sigmoid"`` or ``"hard_sigmoid"``, for ``scale``.
        centred: use 2 * gate, which is 1 where the transform is 0.
        residual: the shortcut of a residual block, added to y in the same pass, as ``y += residual`` adds it; or None.
        relu: apply the ReLU that ends a residual block in the same pass.

    Returns:
        [N, C, *spatial] in the dtype and memory format of ``x``; inside, at least float32.

    Raises:
        ValueError: no fusion, or shapes that do not fit.
        TypeError: ``x`` is not floating point.

    Example:
        >>> import torch
        >>> from gcnet import ops
        >>> x, key = torch.randn(2, 8, 5, 5), torch.randn(1, 8)
        >>> ops.global_context(x, key, add=ops.Transform(torch.zeros(8, 8))).equal(x)
        True
        >>> y = ops.global_context(x, key, add=ops.Transform(torch.zeros(8, 8)), residual=x, relu=True)
        >>> y.equal(torch.relu(2 * x))
        True
    """
    if scale is None and add is None:
        raise ValueError("global_context needs scale=, add= or both; with neither there is nothing to fuse")
    if gate not in _GATES:
        raise ValueError(f"gate={gate!r} is not one of {', '.join(map(repr, _GATES))}")
    _check_shapes(x, key_weight, key_bias, scale=scale, add=add)
    if residual is None or (residual.shape == x.shape and residual.dtype == x.dtype):
        return context_block(x, key_weight, key_bias, scale, add, gate, centred, residual, relu)
    _check_residual(residual, x)
    y = context_block(x, key_weight, key_bias, scale, add, gate, centred, None, False)
    y = (y + residual).to(x.dtype)
    return torch.relu(y) if relu else y


def simplified_non_local(
    x: Tensor,
    key_weight: Tensor,
    key_bias: Tensor | None,
    value_weight: Tensor,
    value_bias: Tensor | None = None,
    *,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Simplified non-local block, GCNet (arXiv:1904.11492) equation 4: y_i = x_i + W_v sum_j softmax_j(W_k x_j) x_j.

    Args:
        x: features [N, C, *spatial].
        key_weight: W_k [1, C].
        key_bias: [1] or None.
        value_weight: W_v [C, C].
        value_bias: [C] or None.
        residual: as in :func:`global_context`.
        relu: as in :func:`global_context`.

    Returns:
        [N, C, *spatial] in the dtype and memory format of ``x``.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> import torch
        >>> from gcnet import ops
        >>> x = torch.randn(2, 8, 5)
        >>> ops.simplified_non_local(x, torch.randn(1, 8), None, torch.eye(8)).shape
        torch.Size([2, 8, 5])
    """
    if key_weight is None:
        raise ValueError("key_weight=None: this block pools by attention; global_context(x, None, ...) by the average")
    transform = Transform(value_weight, value_bias)
    return global_context(x, key_weight, key_bias, add=transform, residual=residual, relu=relu)


def squeeze_excite(
    x: Tensor,
    reduce_weight: Tensor,
    reduce_bias: Tensor | None,
    expand_weight: Tensor,
    expand_bias: Tensor | None = None,
    *,
    activation: str = "relu",
    gate: str = "sigmoid",
    centred: bool = False,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Squeeze-and-excitation, SENet (arXiv:1709.01507) equations 2-4: y = x * sigmoid(W_2 ReLU(W_1 mean(x))).

    Args:
        x: features [N, C, *spatial].
        reduce_weight: W_1 [hidden, C].
        reduce_bias: [hidden] or None.
        expand_weight: W_2 [C, hidden].
        expand_bias: [C] or None.
        activation: ``"relu"`` or ``"silu"``.
        gate: ``"sigmoid"`` or ``"hard_sigmoid"``.
        centred: use 2 * gate, which is 1 where its argument is 0.
        residual: as in :func:`global_context`.
        relu: as in :func:`global_context`.

    Returns:
        [N, C, *spatial] in the dtype and memory format of ``x``.

    Raises:
        ValueError: unknown activation or gate, shapes that do not fit.

    Example:
        >>> import torch
        >>> from gcnet import ops
        >>> x = torch.randn(2, 8, 5, 5)
        >>> ops.squeeze_excite(x, torch.zeros(2, 8), None, torch.zeros(8, 2), centred=True).equal(x)
        True
    """
    transform = Transform(expand_weight, expand_bias, reduce_weight, reduce_bias, activation=activation)
    return global_context(x, None, scale=transform, gate=gate, centred=centred, residual=residual, relu=relu)


def attention_map(x: Tensor, key_weight: Tensor, key_bias: Tensor | None = None) -> Tensor:
    """Attention map of the GC and SNL blocks, alpha_j = softmax_j(W_k x_j).

    Args:
        x: features [N, C, *spatial].
        key_weight: W_k [1, C].
        key_bias: [1] or None.

    Returns:
        [N, P], float32 or wider; each row sums to 1.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> import torch
        >>> from gcnet import ops
        >>> ops.attention_map(torch.randn(2, 8, 5, 5), torch.zeros(1, 8))[0, 0].item()
        0.0399...
    """
    _check_shapes(x, key_weight, key_bias)
    return choose("attention_map", _ATTENTION)(x, key_weight, key_bias)


def _check_residual(residual: Tensor, x: Tensor) -> None:
    """Raise ValueError unless ``y += residual`` is possible for a y like ``x``."""
    behind = zip(reversed(residual.shape), reversed(x.shape), strict=False)
    if residual.dim() > x.dim() or any(ours not in (1, theirs) for ours, theirs in behind):
        raise ValueError(f"residual: expected {list(x.shape)} as x, got {list(residual.shape)}")


def _check_shapes(
    x: Tensor, key_weight: Tensor | None, key_bias: Tensor | None = None, **transforms: Transform | None
) -> None:
    check_features(x)
    channels = x.shape[1]
    if key_weight is not None:
        check_shape("key_weight", key_weight, (1, channels), x)
    if key_bias is not None:
        check_shape("key_bias", key_bias, (1,), x)
    for name, transform in transforms.items():
        if transform is not None:
            _check_transform(name, transform, channels, x)


def _check_transform(name: str, transform: Transform, channels: int, x: Tensor) -> None:
    if not isinstance(transform, Transform):
        raise TypeError(f"{name}: expected a gcnet.ops.Transform, got {type(transform).__name__}")
    if transform.activation not in (None, "relu", "silu"):
        raise ValueError(f"{name}: activation={transform.activation!r} is not one of 'relu', 'silu', None")
    if not transform.expand_weight.is_floating_point():
        raise TypeError(f"{name}.expand_weight: expected floating point, got {transform.expand_weight.dtype}")
    inner = {field: getattr(transform, field) for field in ("reduce_bias", "norm_weight", "norm_bias", "activation")}
    if transform.reduce_weight is None:
        given = [field for field, value in inner.items() if value is not None]
        if given:
            raise ValueError(f"{name}: {given[0]} belongs to a bottleneck, which needs reduce_weight")
        hidden = channels
    else:
        if transform.reduce_weight.dim() != 2:
            raise ValueError(f"{name}.reduce_weight: expected [hidden, C], got {tuple(transform.reduce_weight.shape)}")
        hidden = transform.reduce_weight.shape[0]
        if hidden < 1:
            raise ValueError(f"{name}.reduce_weight: a hidden width of 0, got {list(transform.reduce_weight.shape)}")
        check_shape(f"{name}.reduce_weight", transform.reduce_weight, (hidden, channels), x)
    if transform.norm_bias is not None and transform.norm_weight is None:
        raise ValueError(f"{name}: norm_bias needs norm_weight")
    check_shape(f"{name}.expand_weight", transform.expand_weight, (channels, hidden), x)
    for field, size in (
        ("expand_bias", channels),
        ("reduce_bias", hidden),
        ("norm_weight", hidden),
        ("norm_bias", hidden),
    ):
        if getattr(transform, field) is not None:
            check_shape(f"{name}.{field}", getattr(transform, field), (size,), x)
