"""Which implementation of the block runs, given its arguments and what PyTorch does around the call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode

from gcnet.ops.backend import choose, is_exporting
from gcnet.ops.context import composition, eager, library, reference
from gcnet.ops.context.fused import FusedBlock, Tensors, block, flatten
from gcnet.ops.context.implementations import implementations, operator_backend
from gcnet.ops.context.passes import Options, Passes
from gcnet.ops.context.transform import Transform
from gcnet.ops.precision import working_dtype

Block = Callable[..., Tensor]


def context_block(
    x: Tensor,
    key_weight: Tensor | None,
    key_bias: Tensor | None,
    scale: Transform | None,
    add: Transform | None,
    gate: str,
    centred: bool,
    residual: Tensor | None,
    relu: bool,
) -> Tensor:
    """Run the block by the fastest implementation that the call allows, or by the forced one."""
    dtype = working_dtype(x, key_weight, *(t.expand_weight for t in (scale, add) if t is not None))
    tensors = flatten(scale, add)
    if not torch.compiler.is_compiling():
        _check_devices(x, (key_weight, key_bias, residual, *tensors))
    whole = (x, key_weight, key_bias, scale, add, gate, centred, residual, relu)
    offered: dict[str, Block] = {
        "reference": partial(reference.context_block, *whole),
        "eager": partial(composition.context_block, *whole),
    }
    if not _must_be_composed(x, key_weight, key_bias, residual, *tensors):
        traced = torch.compiler.is_compiling() or _get_current_dispatch_mode() is not None
        parts = (x, key_weight, key_bias, residual, tensors, _options(scale, add, gate, centred, relu))
        found = _operator(x, dtype) if traced else _passes(x, dtype)
        offered.update((name, partial(run, *parts)) for name, run in found.items())
    return choose("global_context", offered)()


_NAMES = ("key_weight", "key_bias", "residual", *(f"{t}.{f}" for t in ("scale", "add") for f in Transform._fields[:6]))


def _check_devices(x: Tensor, tensors: tuple[Tensor | None, ...]) -> None:
    """Raise ValueError unless all tensors are on the device of ``x``."""
    device = x.device
    for index, tensor in enumerate(tensors):
        if tensor is not None and tensor.device != device:
            raise ValueError(f"{_NAMES[index]} is on {tensor.device}, x on {device}: move one of them")


@functools.cache
def _is_plain(kind: type[Tensor]) -> bool:
    """Whether tensors of this class are memory, and not something of their own, such as sharded or fake ones."""
    return kind.__torch_dispatch__ is Tensor.__torch_dispatch__


def _operator(x: Tensor, dtype: torch.dtype) -> dict[str, Block]:
    name = operator_backend(x.device.type, x.dtype) if dtype == torch.float32 else None
    return {} if name is None else {name: library.global_context}


def _passes(x: Tensor, dtype: torch.dtype) -> dict[str, Block]:
    if dtype == torch.float64:
        return {"eager": _EAGER}
    return {name: partial(_fused, passes) for name, passes in implementations(x).items()}


def _must_be_composed(*tensors: Tensor | None) -> bool:
    """Whether something looks at the single ATen calls: export, functorch, forward mode, tensors of other kinds."""
    if is_exporting() or torch._C._are_functorch_transforms_active():
        return True
    return not torch.compiler.is_compiling() and (
        forward_ad._current_level >= 0
        or torch.jit.is_tracing()
        or not all(t is None or _is_plain(type(t)) for t in tensors)
    )


def _fused(
    passes: Passes,
    x: Tensor,
    key_weight: Tensor | None,
    key_bias: Tensor | None,
    residual: Tensor | None,
    tensors: Tensors,
    options: Options,
) -> Tensor:
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, key_weight, key_bias, residual, *tensors)
    ):
        return FusedBlock.apply(passes, options, x, key_weight, key_bias, residual, *tensors)
    return block(passes, x, key_weight, residual, tensors, options)[0]


def _options(scale: Transform | None, add: Transform | None, gate: str, centred: bool, relu: bool) -> Options:
    return Options(
        None if scale is None else (scale.norm_eps, scale.activation),
        None if add is None else (add.norm_eps, add.activation),
        gate,
        centred,
        relu,
    )


_EAGER = partial(_fused, eager)
