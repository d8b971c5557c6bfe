"""The block as an operator of PyTorch, ``torch.ops.gcnet.global_context``: opaque to tracers, with rules for each.

Eager calls do not go this way, which costs more than a small map itself; compiled code and dispatch modes do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gcnet.ops.backend import constant_when_compiling
from gcnet.ops.context import eager, native
from gcnet.ops.context.fused import Tensors, block, block_backward, differentiable_gradients
from gcnet.ops.context.passes import Options, Passes

_OPTIONS = "int present, float scale_norm_eps, str? scale_activation, float add_norm_eps, str? add_activation"
_OPTIONS += ", str gate, bool centred, bool relu"

_library = torch.library.Library("gcnet", "DEF")
_library.define(
    f"global_context(Tensor x, Tensor? key, Tensor? key_bias, Tensor? residual, Tensor[] tensors, {_OPTIONS})"
    " -> (Tensor, Tensor, Tensor)"
)
_library.define(
    "global_context_backward(Tensor g, Tensor x, Tensor? y, Tensor? key, Tensor context, Tensor weights,"
    f" Tensor[] tensors, {_OPTIONS}) -> Tensor[]"
)


def global_context(
    x: Tensor,
    key: Tensor | None,
    key_bias: Tensor | None,
    residual: Tensor | None,
    tensors: Tensors,
    options: Options,
) -> Tensor:
    """The block through the operator."""
    y, _, _ = torch.ops.gcnet.global_context(x, key, key_bias, residual, *pack(tensors, options))
    return y


@constant_when_compiling
def _native_is_there() -> bool:
    return native.is_installed()


def backend_of(x: Tensor) -> str | None:
    """Name of the backend that the operator runs on maps like ``x``; None if it has none for them."""
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16) and _native_is_there():
        return "native"
    return None


def pack(tensors: Tensors, options: Options) -> tuple[Any, ...]:
    """Tensors and options as the operator takes them: the tensors that are there, and which of the twelve they are."""
    scale, add, *rest = options
    present = sum(1 << i for i, t in enumerate(tensors) if t is not None)
    return [t for t in tensors if t is not None], present, *(scale or (0.0, None)), *(add or (0.0, None)), *rest


def _unpack(packed: Sequence[Any]) -> tuple[Tensors, Options]:
    given, present, scale_eps, scale_activation, add_eps, add_activation, *rest = packed
    tensors = _placed(given, present)
    scale = None if tensors[0] is None else (scale_eps, scale_activation)
    add = None if tensors[6] is None else (add_eps, add_activation)
    return tensors, Options(scale, add, *rest)


def _placed(given: Sequence[Any], present: int) -> tuple[Any, ...]:
    """What is given of the twelve, each in its place."""
    left = iter(given)
    return tuple(next(left) if present >> i & 1 else None for i in range(12))


def _passes(x: Tensor) -> Passes:
    return native if native.supports(x) else eager


def _forward(
    x: Tensor, key: Tensor | None, key_bias: Tensor | None, residual: Tensor | None, *packed: Any
) -> tuple[Tensor, Tensor, Tensor]:
    y, context, weights = block(_passes(x), x, key, residual, *_unpack(packed))
    return y, context, context.new_empty(x.shape[0], 0) if weights is None else weights


def _backward(
    g: Tensor, x: Tensor, y: Tensor | None, key: Tensor | None, context: Tensor, weights: Tensor, *packed: Any
) -> list[Tensor]:
    """Gradients of x, of the residual if a ReLU cut them, of the key and of the tensors, each if it is there."""
    dx, dkey, cut, dtensors = block_backward(
        _passes(x), g, x, y, key, context, None if key is None else weights, *_unpack(packed)
    )
    found = [dx, None if y is None else cut, dkey, *dtensors]
    return [d for d in found if d is not None]


def _forward_fake(
    x: Tensor, key: Tensor | None, key_bias: Tensor | None, residual: Tensor | None, *packed: Any
) -> tuple[Tensor, Tensor, Tensor]:
    positions = 0 if key is None else x[0, 0].numel()
    return (
        torch.empty_like(x),
        x.new_empty(x.shape[:2], dtype=torch.float32),
        x.new_empty(x.shape[0], positions, dtype=torch.float32),
    )


def _backward_fake(
    g: Tensor, x: Tensor, y: Tensor | None, key: Tensor | None, context: Tensor, weights: Tensor, *packed: Any
) -> list[Tensor]:
    return [torch.empty_like(t) for t in (x, y, key, *packed[0]) if t is not None]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, key, key_bias, residual, tensors, *ctx.options = inputs
    y, context, weights = output
    relu = ctx.options[-1]
    ctx.save_for_backward(x, key, key_bias, residual, y if relu else None, context, weights, *tensors)


def _gradients(ctx: Any, g: Tensor, *_: Any) -> tuple[Any, ...]:
    x, key, key_bias, residual, y, context, weights, *given = ctx.saved_tensors
    nothing = (None,) * len(ctx.options)
    if torch.is_grad_enabled():
        tensors, options = _unpack((given, *ctx.options))
        first, twelve = _split(differentiable_gradients(g, (x, key, key_bias, residual, *tensors), options))
        return *first, [d for d, t in zip(twelve, tensors, strict=True) if t is not None], *nothing
    found = iter(torch.ops.gcnet.global_context_backward(g, x, y, key, context, weights, given, *ctx.options))
    dx = next(found)
    dresidual = g if y is None else next(found)
    dkey = None if key is None else next(found)
    dbias = None if key_bias is None else torch.zeros_like(key_bias)
    return dx, dkey, dbias, None if residual is None else dresidual, list(found), *nothing


def _split(gradients: list[Tensor | None]) -> tuple[list[Tensor | None], list[Tensor | None]]:
    return gradients[:4], gradients[4:]


def _no_double_backward(ctx: Any, *g: Any) -> Any:
    raise RuntimeError(
        "gcnet::global_context_backward has no gradient of its own; differentiate gcnet::global_context with "
        "create_graph=True, which takes another way"
    )


def _batched(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
    """Rule for vmap: maps that are batched alone fold the batch into N; otherwise one sample after the other."""
    x, key, key_bias, residual, tensors, *packed = inputs
    x_dim, key_dim, bias_dim, residual_dim, tensor_dims, *_ = in_dims
    size = info.batch_size

    def whole(t: Tensor, dim: int | None) -> Tensor:
        return t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)

    call = torch.ops.gcnet.global_context
    if all(dim is None for dim in (key_dim, bias_dim, *(tensor_dims or ()))):
        maps = [None if t is None else whole(t, dim) for t, dim in ((x, x_dim), (residual, residual_dim))]
        folded = [None if t is None else t.flatten(0, 1) for t in maps]
        outputs = call(folded[0], key, key_bias, folded[1], tensors, *packed)
        return tuple(t.unflatten(0, (size, -1)) for t in outputs), (0, 0, 0)

    def pick(t: Any, dim: int | None, index: int) -> Any:
        return t if t is None or dim is None else t.select(dim, index)

    dims = tensor_dims or [None] * len(tensors)
    results = [
        call(
            *(pick(t, d, i) for t, d in zip((x, key, key_bias, residual), in_dims[:4], strict=True)),
            [pick(t, d, i) for t, d in zip(tensors, dims, strict=True)],
            *packed,
        )
        for i in range(size)
    ]
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0, 0, 0)


for _device in ("CPU", "CUDA"):
    _library.impl("global_context", _forward, _device)
    _library.impl("global_context_backward", _backward, _device)
torch.library.register_fake("gcnet::global_context", _forward_fake, lib=_library)
torch.library.register_fake("gcnet::global_context_backward", _backward_fake, lib=_library)
torch.library.register_autograd("gcnet::global_context", _gradients, setup_context=_setup, lib=_library)
torch.library.register_autograd("gcnet::global_context_backward", _no_double_backward, lib=_library)
torch.library.register_vmap("gcnet::global_context", _batched, lib=_library)
