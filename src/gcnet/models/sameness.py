"""Whether two networks are built alike: the same layers with the same options, whatever their weights."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcnet.blocks.base import Block
from gcnet.insertion.attach import original_class


def built_alike(model: nn.Module, other: nn.Module, aside: Collection[str] = ()) -> bool:
    """Whether ``other`` has the layers of ``model`` under the same names, those at the paths ``aside`` excepted.

    Compared are the classes of all modules, their plain constructor arguments where they keep them, and the names and
    shapes in the state dict. A SyncBatchNorm counts as the BatchNorm that it was.

    Example:
        >>> from torch import nn
        >>> built_alike(nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3, stride=2))
        False
    """
    modules, others = (without(aside, dict(m.named_modules(remove_duplicate=False))) for m in (model, other))
    if modules.keys() != others.keys():
        return False
    if not all(_same_layer(module, others[path]) for path, module in modules.items()):
        return False
    state, expected = (without(aside, m.state_dict()) for m in (model, other))
    return state.keys() == expected.keys() and all(
        getattr(value, "shape", None) == getattr(expected[key], "shape", None) for key, value in state.items()
    )


def block_paths(model: nn.Module) -> dict[str, Block]:
    """Path -> block, for every block of gcnet in a model, attached or in the place of another module."""
    return {path: module for path, module in model.named_modules(remove_duplicate=False) if isinstance(module, Block)}


def without(aside: Collection[str], entries: Mapping[str, Any]) -> dict[str, Any]:
    """Entries under names that are neither paths of ``aside`` nor inside of one."""
    inside = tuple(f"{path}." for path in aside)
    return {key: value for key, value in entries.items() if key not in aside and not key.startswith(inside)}


def _same_layer(module: nn.Module, other: nn.Module) -> bool:
    kind, expected = original_class(module), original_class(other)
    synchronised = issubclass(kind, nn.SyncBatchNorm) and issubclass(expected, _BatchNorm)
    if kind is not expected and not synchronised:
        return False
    names = inspect.signature(expected).parameters
    return all(_plain(vars(module), name) == _plain(vars(other), name) for name in names)


def _plain(attributes: dict[str, Any], name: str) -> Any:
    """A plain value kept under ``name``, lists as tuples; None for all else."""
    value = attributes.get(name)
    if isinstance(value, (list, tuple)):
        return tuple(_plain({"entry": entry}, "entry") for entry in value)
    return value if isinstance(value, (bool, int, float, str)) else None
