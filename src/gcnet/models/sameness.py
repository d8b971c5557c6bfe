"""Whether two networks are built alike: the same layers with the same options, whatever their weights."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcnet.blocks.base import Block
from gcnet.insertion.attach import hand_on, original_class


def first_difference(model: nn.Module, other: nn.Module, aside: Collection[str] = ()) -> str | None:
    """What sets ``other`` apart from ``model``, modules at the paths ``aside`` excepted; None if they are built alike.

    Compared are the classes of all modules, their plain constructor arguments where they keep them, their other numbers
    and helpers, methods replaced in a single module, and the names and shapes in the state dict. A SyncBatchNorm counts
    as the BatchNorm that it was.

    Example:
        >>> from torch import nn
        >>> first_difference(nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3, stride=2))
        'the model has stride=(1, 1), not (2, 2)'
    """
    modules, others = (without(aside, dict(m.named_modules(remove_duplicate=False))) for m in (model, other))
    for path in {**modules, **others}:
        if path not in modules or path not in others:
            return f"there is {'no' if path not in modules else 'a'} module {path!r}"
        difference = _layers_differ(modules[path], others[path])
        if difference:
            return f"{repr(path) if path else 'the model'} {difference}"
    state, expected = (
        {key: list(getattr(value, "shape", ())) for key, value in without(aside, m.state_dict()).items()}
        for m in (model, other)
    )
    for key in {**state, **expected}:
        if state.get(key) != expected.get(key):
            return f"{key!r} has the shape {state.get(key)}, not {expected.get(key)}"
    return None


def block_paths(model: nn.Module) -> dict[str, Block]:
    """Path -> block, for every block of gcnet in a model, attached or in the place of another module."""
    return {path: module for path, module in model.named_modules(remove_duplicate=False) if isinstance(module, Block)}


def without(aside: Collection[str], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries under names that are neither paths of ``aside`` nor inside of one."""
    inside = tuple(f"{path}." for path in aside)
    return {key: value for key, value in entries.items() if key not in aside and not key.startswith(inside)}


def _layers_differ(module: nn.Module, other: nn.Module) -> str | None:
    kind, expected = original_class(module), original_class(other)
    synchronised = issubclass(kind, nn.SyncBatchNorm) and issubclass(expected, _BatchNorm)
    if kind is not expected and not synchronised:
        return f"is a {kind.__name__}, not a {expected.__name__}"
    wanted = _settings(other, expected)
    for name, value in _settings(module, expected).items():
        if value != wanted.get(name, value):
            return f"has {name}={value!r}, not {wanted[name]!r}"
    for name in sorted(_methods_of_its_own(module) ^ _methods_of_its_own(other)):
        return f"has a method {name!r} that is not its class's"
    return None


def _settings(module: nn.Module, kind: type[nn.Module]) -> dict[str, Any]:
    """Constructor arguments that a module keeps; its other numbers; what helpers such as box coders keep."""
    own = vars(module)
    settings = {name: _plain(own.get(name, own.get(f"_{name}"))) for name in inspect.signature(kind).parameters}
    for name, value in own.items():
        if isinstance(value, float):
            settings[name] = value
        elif type(value).__module__.startswith(("torchvision.", "gcnet.")) and not isinstance(value, nn.Module):
            settings.update({f"{name}.{inner}": _plain(entry) for inner, entry in vars(value).items()})
    return settings


def _methods_of_its_own(module: nn.Module) -> set[str]:
    """Names of methods, such as ``forward``, that were replaced in this one module other than to switch a block off."""
    return {
        name
        for name, value in vars(module).items()
        if value is not hand_on and inspect.isroutine(getattr(type(module), name, None))
    }


def _plain(value: Any) -> Any:
    """A plain value with lists as tuples, or the name of a function; None for all else."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if inspect.isroutine(value):
        return value.__name__
    return value if isinstance(value, (bool, int, float, str)) else None
