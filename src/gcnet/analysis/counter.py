"""Count multiply-adds and created bytes of every module while a model runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

aten = torch.ops.aten


class Counter:
    """Context manager: while it is entered, adds up what each module of ``model`` does, children included.

    It listens to every module call instead of hooking the model, so the model stays as it is.

    A module that only holds others, without being called itself, gets the sum of its children.

    Attributes:
        macs: module -> multiply-adds.
        written: module -> bytes of tensors created.
        uncounted: names of operations that may multiply but have no formula.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = list(model.modules())
        self.macs = dict.fromkeys(self._modules, 0)
        self.written = dict.fromkeys(self._modules, 0)
        self.uncounted: set[str] = set()
        self._called: set[nn.Module] = set()
        self._flops = FlopCounterMode(display=False, custom_mapping=_LEFT_OUT)
        self._bytes = _Bytes(self._flops.flop_registry)
        self._running: list[tuple[nn.Module, int, int]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Counter:
        self._stack.enter_context(self._flops)
        self._stack.enter_context(self._bytes)
        for handle in (register_module_forward_pre_hook(self._start), register_module_forward_hook(self._stop)):
            self._stack.callback(handle.remove)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
        self.uncounted = self._bytes.uncounted
        for module in reversed(self._modules):
            if module not in self._called:
                self.macs[module] = sum(self.macs[child] for child in module.children())
                self.written[module] = sum(self.written[child] for child in module.children())

    def _start(self, module: nn.Module, args: Any) -> None:
        if module in self.macs:
            self._running.append((module, self._flops.get_total_flops(), self._bytes.written))

    def _stop(self, module: nn.Module, args: Any, output: Any) -> None:
        if module in self.macs:
            while self._running[-1][0] is not module:  # a forward that raised, and whose error the model caught
                self._running.pop()
            _, flops, written = self._running.pop()
            self._called.add(module)
            self.macs[module] += (self._flops.get_total_flops() - flops) // 2
            self.written[module] += self._bytes.written - written


class _Bytes(TorchDispatchMode):
    """Adds up the bytes of tensors whose storage is new."""

    def __init__(self, formulas: dict[Any, Callable[..., int]]) -> None:
        super().__init__()
        self.formulas = formulas
        self.written = 0
        self.uncounted: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        old = {_storage(t) for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)}
        statistics = "batch_norm" in func.__name__  # outputs after the first, empty on some devices
        for tensor in tree_iter(output[0] if statistics else output):
            if isinstance(tensor, Tensor) and _storage(tensor) not in old:
                self.written += tensor.numel() * tensor.element_size()
        packet = getattr(func, "_overloadpacket", func)
        foreign = func.namespace not in ("aten", "prim", "prims")
        multiplies = any(word in func.__name__ for word in _MULTIPLYING)
        if packet not in self.formulas and (foreign or multiplies):
            self.uncounted.add(str(packet))
        return output


#: Parts of the names of operations that multiply and may have no formula.
_MULTIPLYING = ("rnn", "lstm", "gru", "cdist", "linalg", "cholesky", "solve", "inverse", "fft", "trilinear", "conv_tbc")


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _matrix_vector(matrix: tuple[int, ...], vector: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * prod(matrix)


def _add_matrix_vector(
    start: tuple[int, ...], matrix: tuple[int, ...], vector: tuple[int, ...], *_: Any, **__: Any
) -> int:
    return 2 * prod(matrix)


def _add_batches(start: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 2 * prod(a) * b[-1]


def _attention(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


#: What FlopCounterMode leaves out, the last in older versions of torch.
_LEFT_OUT: dict[Any, Any] = {
    aten.mv: _matrix_vector,
    aten.dot: _matrix_vector,
    aten.vdot: _matrix_vector,
    aten.addbmm: _add_batches,
    aten.addmv: _add_matrix_vector,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}
