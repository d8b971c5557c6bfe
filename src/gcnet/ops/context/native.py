"""The passes over the feature map in C++, for CPUs: one read and one write of the map where the transform is small."""

from __future__ import annotations

from ctypes import byref
from typing import Any

import torch
from torch import Tensor

from gcnet.ops import native_library
from gcnet.ops.context.layout import laid_out
from gcnet.ops.context.mixing import Gradients
from gcnet.ops.context.passes import Options
from gcnet.ops.context.transform import Transform
from gcnet.ops.native_library import describe, library, pointer

#: Weights of a transform up to which its gradient is computed per sample, between the two passes over it; beyond,
#: matrix products of all samples at once are faster.
SMALL_TRANSFORM = 2**16

_ACTIVATIONS = {None: 0, "relu": 1, "silu": 2}
_GATES = {"sigmoid": 0, "hard_sigmoid": 1}


def is_installed() -> bool:
    """Whether the kernels were built and run on this machine."""
    return library() is not None


def supports(x: Tensor) -> bool:
    """Whether the kernels take ``x`` and are installed."""
    return native_library.supports(x) and is_installed()


def pool(x: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As in ``eager.py``."""
    context, weights = _pooled(x, key)
    _call("gcnet_pool", x, pointer(x), pointer(key), pointer(context), pointer(weights))
    return context, weights


def fuse(
    x: Tensor, factor: Tensor | None, shift: Tensor | None, residual: Tensor | None = None, relu: bool = False
) -> Tensor:
    """As in ``eager.py``."""
    y, residual = torch.empty_like(x), laid_out(residual, x)
    factor, shift = _dense(factor), _dense(shift)
    _call("gcnet_fuse", x, pointer(x), pointer(factor), pointer(shift), pointer(residual), relu, pointer(y))
    return y


def sums(
    g: Tensor, x: Tensor, want_factor: bool, want_shift: bool, y: Tensor | None = None
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """As in ``eager.py``."""
    g = laid_out(g, x)
    dfactor, dshift = _vectors(x, want_factor), _vectors(x, want_shift)
    masked = g if y is None else torch.empty_like(x)
    _call(
        "gcnet_sums",
        x,
        pointer(g),
        pointer(x),
        pointer(y),
        pointer(dfactor),
        pointer(dshift),
        None if y is None else pointer(masked),
    )
    return dfactor, dshift, masked


def spread(
    g: Tensor,
    x: Tensor,
    factor: Tensor | None,
    key: Tensor | None,
    weights: Tensor | None,
    context: Tensor,
    dcontext: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """As in ``eager.py``."""
    g = laid_out(g, x)
    dx, dkey = torch.empty_like(x), None if key is None else torch.empty_like(key)
    factor, dcontext = _dense(factor), dcontext.contiguous()
    _call(
        "gcnet_spread",
        x,
        pointer(g),
        pointer(x),
        pointer(factor),
        pointer(key),
        pointer(weights),
        pointer(context),
        pointer(dcontext),
        pointer(dx),
        pointer(dkey),
    )
    return dx, dkey


def block(
    x: Tensor,
    key: Tensor | None,
    residual: Tensor | None,
    scale: Transform | None,
    add: Transform | None,
    options: Options,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The whole block in one parallel region."""
    y, residual = torch.empty_like(x), laid_out(residual, x)
    context, weights = _pooled(x, key)
    scaling, adding, fusion = _Weights(scale), _Weights(add), _fusion(options)
    _call(
        "gcnet_block",
        x,
        pointer(x),
        pointer(key),
        pointer(residual),
        scaling.address,
        adding.address,
        byref(fusion),
        pointer(y),
        pointer(context),
        pointer(weights),
    )
    return y, context, weights


def block_backward(
    g: Tensor,
    x: Tensor,
    y: Tensor | None,
    key: Tensor | None,
    context: Tensor,
    weights: Tensor | None,
    scale: Transform | None,
    add: Transform | None,
    options: Options,
) -> tuple[Tensor, Tensor | None, Tensor, Gradients] | None:
    """Gradients of x, key, residual and of the twelve tensors in one parallel region; None for a large transform."""
    if not (_is_small(scale) and _is_small(add)):
        return None
    g = laid_out(g, x)
    dx, dkey = torch.empty_like(x), None if key is None else torch.empty_like(key)
    masked = g if y is None else torch.empty_like(x)
    scaling, adding, fusion = _Weights(scale), _Weights(add), _fusion(options)
    dscale, dscale_address = scaling.gradients()
    dadd, dadd_address = adding.gradients()
    _call(
        "gcnet_block_backward",
        x,
        pointer(g),
        pointer(x),
        pointer(y),
        pointer(key),
        pointer(context),
        pointer(weights),
        scaling.address,
        adding.address,
        byref(fusion),
        pointer(dx),
        None if y is None else pointer(masked),
        pointer(dkey),
        dscale_address,
        dadd_address,
    )
    return dx, dkey, masked, (*dscale, *dadd)


class _Weights:
    """A transform as the kernels take it; holds the float32 tensors while they run."""

    def __init__(self, transform: Transform | None) -> None:
        self.address: Any = None
        self.tensors: list[Tensor | None] = [None] * 6
        if transform is None:
            return
        self.tensors = [None if t is None else t.detach().float().contiguous() for t in transform[:6]]
        self.struct = native_library.Transform(
            *map(pointer, self.tensors),
            transform.expand_weight.shape[1],
            transform.norm_eps,
            _ACTIVATIONS[transform.activation],
        )
        self.address = byref(self.struct)

    def gradients(self) -> tuple[Gradients, Any]:
        """Room for the gradients of the six tensors, and its address."""
        room = tuple(None if t is None else torch.empty_like(t) for t in self.tensors)
        return room, byref(native_library.TransformGradient(*map(pointer, room)))


def _fusion(options: Options) -> native_library.Fusion:
    return native_library.Fusion(_GATES[options.gate], options.centred, options.relu)


def _is_small(transform: Transform | None) -> bool:
    return transform is None or transform.expand_weight.numel() <= SMALL_TRANSFORM


def _call(name: str, x: Tensor, *arguments: Any) -> None:
    getattr(library(), name)(byref(describe(x)), *arguments)


def _pooled(x: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor | None]:
    n, c = x.shape[:2]
    context = torch.empty(n, c)
    return context, None if key is None else torch.empty(n, x.numel() // (n * c))


def _vectors(x: Tensor, wanted: bool) -> Tensor | None:
    return torch.empty(x.shape[:2], dtype=torch.float32) if wanted else None


def _dense(vector: Tensor | None) -> Tensor | None:
    return None if vector is None else vector.contiguous()
