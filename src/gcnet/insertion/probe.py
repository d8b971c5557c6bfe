"""Measuring what flows through sites: one forward on fake tensors, over a copy, that touches nothing of the model."""

from __future__ import annotations

import contextlib
import copy
import random
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

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

    Raises:
        ValueError: no input could be found or run; a site that is never called, or more than once; an output that is
            not one [N, C, *spatial] tensor.
    """
    prefix, root = "", model
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, nn.Module) and all(path.startswith("backbone.") for path, _ in sites):
        prefix, root = "backbone.", backbone
    inner = [(path.removeprefix(prefix), position) for path, position in sites]
    with _random_state_kept(root), torch.no_grad():
        records = _run_guess(root, inner, model) if example is None else _run_example(root, inner, example)
    hosts = host_modules(model)
    return [
        _check(path, hosts[path], seen, conv_dims(hosts[path]) or conv_dims(root))
        for (path, _), seen in zip(sites, records, strict=True)
    ]


def conv_dims(module: nn.Module) -> set[int]:
    """Spatial axes of the convolutions in ``module``."""
    return {dims for m in module.modules() for kind, dims in _CONVOLUTIONS.items() if isinstance(m, kind)}


def _run_guess(root: nn.Module, sites: Sequence[tuple[str, str]], model: nn.Module) -> list[list[Any]]:
    first: Any = next((module for module in root.modules() if isinstance(module, tuple(_CONVOLUTIONS))), None)
    if first is None:
        raise ValueError(f"{type(model).__name__} has no convolution to tell its input from; pass example=")
    weight, dims = first.weight, conv_dims(first).pop()
    config = getattr(model, "default_cfg", None)
    known = config.get("input_size") if isinstance(config, Mapping) else None
    sizes = [tuple(known[1:])] if known and len(known) == dims + 1 else []
    sizes += [size for size in _SIZES[dims] if size not in sizes]
    failures = []
    for size in sizes:
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        probe = _copy(root, mode)
        with mode:
            x = torch.empty((2, first.in_channels, *size), device=weight.device, dtype=weight.dtype)
            try:
                return _record(probe, sites, (x,), {})
            except Exception as error:  # whatever the model raises says only that this input does not suit it
                failures.append(error)
    tried = ", ".join(f"[2, {first.in_channels}, {', '.join(map(str, size))}]" for size in sizes)
    raise ValueError(
        f"the model runs on none of the inputs tried ({tried}): {failures[0]}. Pass example=: a tensor, a tuple of "
        "positional or a dict of keyword arguments"
    ) from failures[0]


def _run_example(root: nn.Module, sites: Sequence[tuple[str, str]], example: Any) -> list[list[Any]]:
    args, kwargs = ((), example) if isinstance(example, Mapping) else (example, {})
    args = args if isinstance(args, tuple) else (args,)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        probe = _copy(root, mode)
        fake_args, fake_kwargs = tree_map_only(Tensor, mode.from_tensor, (args, dict(kwargs)))
        with mode:
            return _record(probe, sites, fake_args, fake_kwargs)
    except Exception:  # data-dependent models do not run on fake tensors
        try:
            return _record(_copy(root, None), sites, args, kwargs)
        except Exception as error:
            raise ValueError(f"the model does not run on example=: {error}") from error


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
            f"{path!r} ({kind}) is called {len(seen)} times in one forward pass; one block cannot serve both"
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


def _copy(root: nn.Module, mode: FakeTensorMode | None) -> nn.Module:
    """A copy without hooks; with a mode, one whose tensors are fake and take no memory."""
    memo: dict[int, Any] = {}
    for module in root.modules():
        memo |= {id(getattr(module, name)): OrderedDict() for name in _HOOKS}
        if mode is not None:
            values = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
            memo |= {id(value): mode.from_tensor(value) for value in values if isinstance(value, Tensor)}
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
