"""Containers that run over their children: what hides context blocks from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import nn

#: Methods that change the children of a container; they run while the context blocks are out of it.
_EDITS = ["__setitem__", "__delitem__", "__add__", "__iadd__", "__mul__", "__imul__"]
_EDITS += ["append", "insert", "extend", "pop", "popitem", "setdefault", "update", "clear"]


def hiding_methods(base: Any, names: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """Methods for a subclass of ``base`` that hides the children ``names`` from iteration, length and index.

    They stay in ``_modules``, and so in the state dict, in ``named_modules()`` and in what moves with the model.
    """

    def host_modules(self: nn.Module) -> dict[str, nn.Module | None]:
        return {name: child for name, child in self._modules.items() if name not in names}

    def host_named_children(self: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        return ((name, child) for name, child in self.named_children() if name not in names)

    def host_children(self: nn.Module) -> Iterator[nn.Module]:
        return (child for name, child in self.named_children() if name not in names)

    def length(self: Any) -> int:
        return len(self.host_modules)

    methods: dict[str, Any] = {
        "host_modules": property(host_modules),
        "host_named_children": host_named_children,
        "host_children": host_children,
    }
    if issubclass(base, (nn.Sequential, nn.ModuleList)):
        methods |= {"__len__": length, "__iter__": _iterate_values, "__getitem__": _item_getter(base)}
    elif issubclass(base, nn.ModuleDict):
        methods |= {
            "__len__": length,
            "__iter__": lambda self: iter(self.host_modules),
            "__contains__": lambda self, key: key in self.host_modules,
            "keys": lambda self: self.host_modules.keys(),
            "items": lambda self: self.host_modules.items(),
            "values": lambda self: self.host_modules.values(),
        }
    if issubclass(base, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        methods |= {edit: _editor(getattr(base, edit), names) for edit in _EDITS if hasattr(base, edit)}
    return methods


def _iterate_values(self: Any) -> Iterator[nn.Module | None]:
    return iter(self.host_modules.values())


def _item_getter(base: Any) -> Callable[..., Any]:
    def getitem(self: Any, index: int | slice) -> Any:
        hosts = self.host_modules
        if isinstance(index, slice):
            chosen: Iterable[Any] = list(hosts.items())[index]
            return (
                base(OrderedDict(chosen)) if issubclass(base, nn.Sequential) else base([child for _, child in chosen])
            )
        try:
            return list(hosts.values())[index]
        except IndexError:
            raise IndexError(f"index {index} is out of range") from None

    return getitem


def _editor(method: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    def edit(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        held = {name: self._modules.pop(name) for name in names if name in self._modules}
        try:
            return method(self, *args, **kwargs)
        finally:
            self._modules.update(held)

    return edit
