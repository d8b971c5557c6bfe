"""Working with a model that has blocks: what they are, on and off, their parameters, loading the host's weights."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from gcnet.insertion.attach import added_blocks, check_model, switch
from gcnet.insertion.report import Added, Status

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel or torch.compile."""
    check_model(model)
    inner: Any = model
    while True:
        if isinstance(inner, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            inner = inner.module
        elif type(inner).__name__ == "OptimizedModule":
            inner = inner._orig_mod
        else:
            return inner


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside, every module is in eval mode; afterwards each is in the mode it had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def status(model: nn.Module) -> Status:
    """The context blocks of a model, also of a compiled or distributed one; empty if it has none.

    Example:
        >>> from torch import nn
        >>> import gcnet
        >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> print(gcnet.status(model))
        path             position     block          channels  parameters  enabled
        1.context_block  after_block  GlobalContext        16         173  yes
        1 block, 173 parameters
    """
    return Status(tuple(Added.of(*added) for added in added_blocks(unwrapped(model))))


def disable(model: nn.Module) -> None:
    """Switch every context block off: the model computes exactly what it did without them.

    Works on compiled and distributed models too; a compiled one is compiled anew, once for each state.

    Raises:
        ValueError: the model has none.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> gcnet.disable(model)
        >>> gcnet.status(model).blocks[0].enabled
        False
    """
    for block in _blocks(model):
        switch(block, False)


def enable(model: nn.Module) -> None:
    """Switch every context block on again; the opposite of :func:`disable`.

    Raises:
        ValueError: the model has none.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> gcnet.disable(model)
        >>> gcnet.enable(model)
        >>> gcnet.status(model).blocks[0].enabled
        True
    """
    for block in _blocks(model):
        switch(block, True)


@contextlib.contextmanager
def disabled(model: nn.Module) -> Iterator[None]:
    """Context in which the blocks are off; afterwards each is on or off as it was.

    Raises:
        ValueError: the model has none.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> with gcnet.disabled(model):
        ...     y = model(torch.zeros(1, 3, 8, 8))
    """
    before = [(block, block.enabled) for block in _blocks(model)]
    disable(model)
    try:
        yield
    finally:
        for block, enabled in before:
            switch(block, enabled)


def _blocks(model: nn.Module) -> list[Any]:
    check_model(model)
    blocks = [block for _, _, _, block in added_blocks(model)]
    if not blocks:
        raise ValueError(f"this {type(model).__name__} has no context blocks; insert some with gcnet.insert")
    return blocks


@overload
def added_parameters(model: nn.Module, named: Literal[False] = False) -> list[nn.Parameter]: ...
@overload
def added_parameters(model: nn.Module, named: Literal[True]) -> list[tuple[str, nn.Parameter]]: ...
def added_parameters(model: nn.Module, named: bool = False) -> list[nn.Parameter] | list[tuple[str, nn.Parameter]]:
    """Parameters of the context blocks; with ``named=True`` pairs with their names in the model.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> gcnet.added_parameters(model, named=True)[0][0]
        '1.context_block.key.weight'
    """
    model = unwrapped(model)
    prefixes = _added_prefixes(model)
    pairs = [(name, parameter) for name, parameter in model.named_parameters() if name.startswith(prefixes)]
    return pairs if named else [parameter for _, parameter in pairs]


def added_state_dict(model: nn.Module) -> dict[str, Any]:
    """The entries of ``model.state_dict()`` that belong to context blocks: all there is to save of a frozen host.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> model.load_state_dict(gcnet.added_state_dict(model), strict=False).unexpected_keys
        []
    """
    model = unwrapped(model)
    prefixes = _added_prefixes(model)
    return {key: value for key, value in model.state_dict().items() if key.startswith(prefixes)}


def _added_prefixes(model: nn.Module) -> tuple[str, ...]:
    return tuple(f"{path}.{place.name}." if path else f"{place.name}." for path, _, place, _ in added_blocks(model))


def param_groups(
    model: nn.Module, lr: float, added_lr: float | None = None, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Groups for an optimizer: host and added parameters, each with and without weight decay.

    Norms and biases get no decay. Every trainable parameter is in exactly one group; empty groups are left out.

    Args:
        model: with or without context blocks.
        lr: learning rate of the host.
        added_lr: learning rate of the blocks; as ``lr`` by default.
        weight_decay: of all other parameters.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> groups = gcnet.param_groups(model, lr=0.01, added_lr=0.1, weight_decay=1e-4)
        >>> [(group["name"], group["lr"], group["weight_decay"]) for group in groups]
        [('host', 0.01, 0.0001), ('host, no decay', 0.01, 0.0), ('added', 0.1, 0.0001), ('added, no decay', 0.1, 0.0)]
        >>> optimizer = torch.optim.SGD(groups)
    """
    prefixes = _added_prefixes(model)
    norms = {id(p) for module in model.modules() if isinstance(module, _NORMS) for p in module.parameters()}
    rates = {"host": lr, "added": lr if added_lr is None else added_lr}
    groups: dict[str, dict[str, Any]] = {
        f"{owner}{suffix}": {"name": f"{owner}{suffix}", "params": [], "lr": rate, "weight_decay": decay}
        for owner, rate in rates.items()
        for suffix, decay in (("", weight_decay), (", no decay", 0.0))
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            owner = "added" if name.startswith(prefixes) else "host"
            plain = id(parameter) in norms or parameter.ndim <= 1 or name.endswith("bias")
            groups[owner + (", no decay" if plain else "")]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


@dataclass(frozen=True)
class Loaded:
    """What :func:`load_host` did.

    Attributes:
        loaded: keys taken from the checkpoint.
        kept: keys of context blocks that the checkpoint does not have and that stay as they were.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"loaded {len(self.loaded)} entries; {len(self.kept)} entries of context blocks are not in the checkpoint"
        )


def _hint(key: str, state_dict: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """What may be wrong with a checkpoint that holds the unknown ``key``."""
    if isinstance(state_dict[key], Mapping):
        return f"; it holds a dict: pass state_dict[{key!r}]"
    prefix = key.partition(".")[0] + "."
    if all(name.startswith(prefix) for name in state_dict) and key.removeprefix(prefix) in own:
        return f"; every key starts with {prefix!r}, which the model's do not: take it off"
    near = difflib.get_close_matches(key, own, n=1)
    return f"; nearest: {near[0]!r}" if near else ""


def load_host(model: nn.Module, state_dict: Mapping[str, Any]) -> Loaded:
    """Load a checkpoint of the plain host into a model with blocks: every key must fit, only added keys may be missing.

    Args:
        model: with context blocks.
        state_dict: of the host without blocks, or of the whole model.

    Raises:
        KeyError: an unexpected key, with the nearest one of the model, or a missing key of the host.
        ValueError: a shape that does not fit, or a model on the meta device.
        TypeError: no state dict, or an entry that is no tensor. In every case nothing is loaded.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> plain = {key: value.clone() for key, value in model.state_dict().items()}
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> print(gcnet.load_host(model, plain))
        loaded 2 entries; 8 entries of context blocks are not in the checkpoint
    """
    model = unwrapped(model)
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict={state_dict!r} is no state dict; gcnet.load(path, model) reads files, also of other layouts"
        )
    own = model.state_dict()
    if any(isinstance(value, Tensor) and value.is_meta for value in own.values()):
        raise ValueError(
            "the model is on the meta device and cannot hold weights; build it on a device, or call "
            'model.to_empty(device="cpu") and reset_parameters() of every added block first'
        )
    prefixes = _added_prefixes(model)
    for key, value in state_dict.items():
        if key not in own:
            raise KeyError(f"{key!r} of the checkpoint is not in the model{_hint(key, state_dict, own)}")
        if isinstance(own[key], Tensor) and not isinstance(value, Tensor):
            raise TypeError(f"{key!r} of the checkpoint is a {type(value).__name__}, the model needs a tensor")
        if isinstance(own[key], Tensor) and value.shape != own[key].shape:
            raise ValueError(
                f"{key!r} is {list(value.shape)} in the checkpoint and {list(own[key].shape)} in the model"
            )
    missing = [key for key in own if key not in state_dict]
    lost = [key for key in missing if not key.startswith(prefixes)]
    if lost:
        near = difflib.get_close_matches(lost[0], state_dict, n=1)
        raise KeyError(
            f"the checkpoint lacks {len(lost)} entries of the host, such as {lost[0]!r}"
            + (f"; nearest in it: {near[0]!r}" if near else "")
        )
    with torch.no_grad():
        model.load_state_dict(state_dict, strict=False)
    return Loaded(tuple(state_dict), tuple(missing))
