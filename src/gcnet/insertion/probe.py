"""Measuring what flows through sites: one forward on fake tensors, over a copy, that touches nothing of the model."""

from __future__ import annotations

import contextlib
import copy
import logging
import random
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_iter, tree_map_only

from gcnet.insertion.attach import Place, attach, free_name, host_modules

_CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
#: Sizes tried when no example is given, by number of spatial axes.
_SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(1024,), (16384,), (128,)],
    2: [(224, 224), (256, 256), (64, 64), (32, 32)],
    3: [(16, 112, 112), (8, 64, 64), (32, 224, 224), (64, 64, 64)],
}
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
)


@dataclass(frozen=True)
class Seen:
    """A feature map at a site: channels and sizes of the spatial axes."""

    channels: int
    spatial: tuple[int, ...]


class _Recorder(nn.Module):
    """Stands where a block would stand and notes what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def forward(self, x: Any) -> Any:
        self.seen.append(tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__)
        return x


def measure(model: nn.Module, sites: Sequence[tuple[str, str]], example: Any = None) -> list[Seen]:
    """Run the model once with recorders at ``sites`` (path, position) and say what each saw.

    Detectors are run on their ``backbone`` alone. Without an example the input is guessed from the first convolution.
    A larger input, where the model takes one, shows that axis 1 is C: it keeps its size.

    Raises:
        ValueError: no input could be found or run; a site that is never called, or more than once; an output that is
            not one [N, C, *spatial] tensor.
    """
    prefix, root = "", model
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, nn.Module) and all(path.startswith("backbone.") for path, _ in sites):
        prefix, root = "backbone.", backbone
    inner = [(path.removeprefix(prefix), position) for path, position in sites]
    hosts = host_modules(model)
    with _random_state_kept(root), torch.no_grad():
        if example is None:
            args, records = _run_guess(root, inner, model)
        else:
            args, records = _run_example(root, inner, example)
        seen = [
            _check(path, hosts[path], record, conv_dims(hosts[path]) or conv_dims(root))
            for (path, _), record in zip(sites, records, strict=True)
        ]
        if len(args) == 1 and isinstance(args[0], Tensor) and args[0].dim() > 2:
            larger = args[0].new_empty(*args[0].shape[:2], *(2 * size for size in args[0].shape[2:]), device="meta")
            try:
                again = _run_fake(root, inner, (larger,), {})
            except _DoesNotRun:
                again = None
            for index, (path, _) in enumerate(sites):
                _check_axes(path, hosts[path], seen[index], again[index][0][1] if again else None)
    return seen


def conv_dims(module: nn.Module) -> set[int]:
    """Spatial axes of the convolutions in ``module``."""
    return {dims for m in module.modules() for kind, dims in _CONVOLUTIONS.items() if isinstance(m, kind)}


def _run_guess(root: nn.Module, sites: Sequence[tuple[str, str]], model: nn.Module) -> tuple[tuple, list[list[Any]]]:
    first: Any = next((module for module in root.modules() if isinstance(module, tuple(_CONVOLUTIONS))), None)
    if first is None:
        raise ValueError(f"{type(model).__name__} has no convolution to tell its input from; pass example=")
    dims = conv_dims(first).pop()
    config = getattr(model, "default_cfg", None)
    known = config.get("input_size") if isinstance(config, Mapping) else None
    sizes = [tuple(known[1:])] if known and len(known) == dims + 1 else []
    shapes = [(2, first.in_channels, *size) for size in dict.fromkeys([*sizes, *_SIZES[dims]])]
    failures = []
    for shape in shapes:
        args = (torch.empty(shape, device="meta", dtype=first.weight.dtype),)
        try:
            return args, _run_fake(root, sites, args, {})
        except _DoesNotRun as failure:
            failures.append(failure)
    raise ValueError(
        f"the model runs on none of the inputs tried ({', '.join(str(list(shape)) for shape in shapes)}): "
        f"{failures[0]}. Pass example=: a tensor, a tuple of positional or a dict of keyword arguments"
    ) from failures[0]


def _run_example(root: nn.Module, sites: Sequence[tuple[str, str]], example: Any) -> tuple[tuple, list[list[Any]]]:
    if isinstance(example, tuple) and example and all(isinstance(size, int) for size in example):
        like = next((p for p in root.parameters() if p.is_floating_point()), torch.empty(0))
        example = torch.zeros(example, device=like.device, dtype=like.dtype)
    args, kwargs = ((), dict(example)) if isinstance(example, Mapping) else (example, {})
    args = args if isinstance(args, tuple) else (args,)
    try:
        return args, _run_fake(root, sites, args, kwargs)
    except _DoesNotRun:  # models that branch on values do not run on fake tensors
        try:
            return args, _record(_copy(root, None), sites, args, kwargs)
        except Exception as error:
            raise ValueError(f"the model does not run on example=: {error}") from error


class _DoesNotRun(Exception):
    """The model does not run on this input, or not on fake tensors at all."""


def _run_fake(root: nn.Module, sites: Sequence[tuple[str, str]], args: tuple, kwargs: dict) -> list[list[Any]]:
    """Run a fake copy on inputs like these, on the device of the model if it has only one."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    devices = {tensor.device for tensor in (*root.parameters(), *root.buffers())}

    def fake(value: Tensor) -> Tensor:
        return torch.empty_like(value, device=next(iter(devices))) if len(devices) == 1 else mode.from_tensor(value)

    logger = logging.getLogger("torch._subclasses.fake_tensor")
    silent, logger.disabled = logger.disabled, True
    try:
        probe = _copy(root, mode)
        with mode:
            return _record(probe, sites, *tree_map_only(Tensor, fake, (args, kwargs)))
    except Exception as error:  # whatever a model raises
        raise _DoesNotRun(str(error)) from error
    finally:
        logger.disabled = silent


def _record(probe: nn.Module, sites: Sequence[tuple[str, str]], args: tuple, kwargs: Mapping) -> list[list[Any]]:
    probe.eval()
    modules = host_modules(probe)
    recorders = [_Recorder() for _ in sites]
    for (path, position), recorder in zip(sites, recorders, strict=True):
        attach(modules[path], Place(position, free_name(modules[path])), recorder)
    probe(*args, **kwargs)
    return [recorder.seen for recorder in recorders]


def _check(path: str, module: nn.Module, seen: Sequence[Any], dims: set[int]) -> Seen:
    kind = type(module).__name__
    if not seen:
        raise ValueError(
            f"{path!r} ({kind}) is never called in a forward pass (its children may be); choose another module"
        )
    if len(seen) > 1:
        raise ValueError(
            f"{path!r} ({kind}) is called {len(seen)} times in one forward pass; one block cannot serve both. Or its "
            "forward walks over its children in a way that gcnet cannot rewrite: choose those, or the module around"
        )
    (shape,) = seen
    if not isinstance(shape, tuple):
        raise ValueError(f"{path!r} ({kind}) returns a {shape}, not one tensor [N, C, *spatial]")
    if not 3 <= len(shape) <= 5 or (dims and len(shape) - 2 not in dims):
        tokens = "; tokens [N, L, C] are not a feature map" if len(shape) == 3 else ""
        raise ValueError(
            f"{path!r} ({kind}) returns {list(shape)}, which is not [N, C, *spatial] of this model{tokens}"
        )
    return Seen(int(shape[1]), tuple(int(size) for size in shape[2:]))


def _check_axes(path: str, module: nn.Module, seen: Seen, with_larger_input: int | None) -> None:
    """Raise if axis 1 is not C: it grows with the input or, for inputs of one size, another one fits the LayerNorms."""
    if with_larger_input is None:
        widths = {norm.normalized_shape[-1] for norm in module.modules() if isinstance(norm, nn.LayerNorm)}
        suspicious = seen.channels not in widths and seen.spatial[-1] in widths
    else:
        suspicious = with_larger_input != seen.channels
    if suspicious:
        shape = f"[N, {seen.channels}, {', '.join(map(str, seen.spatial))}]"
        raise ValueError(
            f"{path!r} ({type(module).__name__}) returns {shape}, which is channels-last, [N, *spatial, C]: axis 1 "
            "is a spatial one. Blocks take [N, C, *spatial]; choose another module"
        )


def _copy(root: nn.Module, mode: FakeTensorMode | None) -> nn.Module:
    """A copy without hooks; with a mode, one whose tensors are fake and take no memory."""
    memo: dict[int, Any] = {}
    for module in root.modules():
        memo |= {id(getattr(module, name)): OrderedDict() for name in _HOOKS}
        tensors = [value for value in tree_iter(vars(module)) if isinstance(value, Tensor)]
        if mode is None:
            memo |= {id(value): value.detach().clone() for value in tensors if not value.is_leaf}
        else:
            memo |= {id(value): mode.from_tensor(value) for value in tensors}
    return copy.deepcopy(root, memo)


@contextlib.contextmanager
def _random_state_kept(root: nn.Module) -> Iterator[None]:
    devices = {p.device.index or 0 for p in root.parameters() if p.device.type == "cuda"}
    python = random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        if numpy:
            numpy.random.set_state(numpy_state)
