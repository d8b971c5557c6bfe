"""Attaching a block to a built module: the block becomes its child, and its class a subclass that applies it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gcnet.insertion.containers import hiding_methods
from gcnet.insertion.families import check_epilogue, check_position, forward_owner, residual
from gcnet.insertion.rewrite import rewrite, walks_children

#: Name of the child module; the second block of one host is ``context_block2``.
CHILD_NAME = "context_block"


class Place(NamedTuple):
    """A block within its host: position and name of the child, and whether it takes over shortcut and ReLU."""

    position: str
    name: str
    fuse_residual: bool = False


def places_of(module: nn.Module) -> tuple[Place, ...]:
    """Places of the context blocks that ``module`` hosts; empty for a module without any."""
    return getattr(type(module), "_context_places", ())


def original_class(module: nn.Module) -> type[nn.Module]:
    """Class of ``module`` before any block was attached."""
    return getattr(type(module), "_context_base", type(module))


def host_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Path -> module of everything but the model itself, context blocks and their insides; shared modules repeat."""
    found: dict[str, nn.Module] = {}

    def collect(module: nn.Module, prefix: str) -> None:
        hidden = {place.name for place in places_of(module)}
        for name, child in module._modules.items():
            if child is not None and name not in hidden:
                found[prefix + name] = child
                collect(child, f"{prefix}{name}.")

    collect(model, "")
    return found


def added_blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module, Place, nn.Module]]:
    """Path of the host, host, place and block of every attached block."""
    for path, module in model.named_modules():
        for place in places_of(module):
            yield path, module, place, getattr(module, place.name)


_classes: dict[tuple[type, tuple[Place, ...]], type[nn.Module]] = {}


def context_class(base: type[nn.Module], places: tuple[Place, ...]) -> type[nn.Module]:
    """The subclass of ``base`` that applies the children named in ``places``; made once.

    Raises:
        ValueError: a position that ``base`` cannot offer.
    """
    made = _classes.get((base, places))
    if made is None:
        made = _classes[base, places] = _make_class(base, places)
    return made


def _make_class(base: Any, places: tuple[Place, ...]) -> type[nn.Module]:
    def reduce(self: nn.Module, protocol: int) -> tuple[Any, ...]:
        function, arguments, *rest = base.__reduce_ex__(self, protocol)
        arguments = tuple(base if argument is type(self) else argument for argument in arguments)
        return restore, (base, tuple(map(tuple, places)), function, arguments), *rest

    known = residual(base)
    members = {
        "__module__": base.__module__,
        "__doc__": base.__doc__,
        "__reduce_ex__": reduce,
        "_context_base": base,
        "_context_places": places,
        "_context_epilogue": known.epilogue if known else None,
        "apply_context": _apply_context,
        "apply_context_residual": _apply_context_residual,
        "fuses_context": _fuses_context,
        "forward": _forward_with_context(base, places),
        **hiding_methods(base, tuple(place.name for place in places)),
    }
    return type(base)(f"{base.__name__}WithContext", (base,), members)


def _forward_with_context(base: type[nn.Module], places: tuple[Place, ...]) -> Callable[..., Any]:
    anchors = {place.name: check_position(place.position, base, base.__name__) for place in places}
    fused = [place for place in places if place.fuse_residual]
    epilogues = {place.name: check_epilogue(place.position, base, base.__name__) for place in fused}
    if epilogues and any(place.position == "after_add" for place in places):
        raise ValueError(
            f"fuse_residual=True is not possible in a {base.__name__} with a block after_add, which lies between the "
            "shortcut and the ReLU that would be fused; leave out one of the two"
        )
    edits = {name: anchor for name, anchor in anchors.items() if anchor}
    owner = forward_owner(base)
    forward = vars(owner)["forward"]
    if edits or (isinstance(forward, FunctionType) and walks_children(forward)):
        label = ", ".join(f"{place.name} {place.position}{', fused' * place.fuse_residual}" for place in places)
        label = f"{owner.__module__}.{owner.__qualname__}.forward with {label}"
        forward = rewrite(forward, edits, label, epilogues)
    for name, anchor in anchors.items():
        if anchor is None:
            forward = _applied_after(forward, name)
    return forward


def restore(
    base: type[nn.Module], places: tuple[tuple[Any, ...], ...], function: Callable[..., nn.Module], arguments: tuple
) -> nn.Module:
    """Rebuild a host from a pickle or for a copy; its state follows."""
    module = function(*arguments)
    module.__class__ = context_class(base, tuple(Place(*place) for place in places))
    return module


def _apply_context(self: nn.Module, name: str, x: Tensor) -> Tensor:
    """Apply the child ``name`` to [N, C, *spatial], unless it is disabled."""
    block = getattr(self, name)
    return block(x) if block.enabled else x


def _apply_context_residual(self: nn.Module, name: str, x: Tensor, shortcut: Tensor) -> Tensor:
    """Apply the child ``name``, the addition of the shortcut and the ReLU at once."""
    return getattr(self, name).forward_residual(x, shortcut)


def _fuses_context(self: Any, name: str) -> bool:
    """Whether the child ``name`` takes over the addition of the shortcut and the ReLU in this forward."""
    return not any(self._context_epilogue.obstacles(self, getattr(self, name)))


def fusion_state(host: Any, name: str) -> str:
    """``"yes"`` if the child ``name`` takes over shortcut and ReLU at present, else what keeps it from that."""
    obstacles = list(host._context_epilogue.obstacles(host, getattr(host, name)))
    return f"no: {'; '.join(obstacles)}" if obstacles else "yes"


def _applied_after(forward: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(forward)
    def forward_with_context(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.apply_context(name, forward(self, *args, **kwargs))

    return forward_with_context


def free_name(module: nn.Module) -> str:
    """Name for the next block of ``module``."""
    name, number = CHILD_NAME, 1
    while has_name(module, name):
        number += 1
        name = f"{CHILD_NAME}{number}"
    return name


def has_name(module: nn.Module, name: str) -> bool:
    """Whether ``name`` is taken in ``module``; unlike ``hasattr``, a ``__getattr__`` of its own has no say in it."""
    registered = (module._modules, module._parameters, module._buffers, vars(module))
    return any(name in names for names in registered) or hasattr(type(module), name)


def check_site(module: nn.Module, path: str, position: str, fuse_residual: bool = False) -> None:
    """Raise unless a block can be attached to ``module`` at ``position``, and take over its end if it shall.

    Raises:
        ValueError: the position is taken or not offered, or the module is of a kind that cannot host a block, or it
            does not end with shortcut and ReLU right behind the position.
    """
    base = original_class(module)
    kind = base.__name__
    if any(place.position == position for place in places_of(module)):
        raise ValueError(
            f"{path!r} already has a context block {position}; remove it first with gcnet.remove(model), or choose "
            "another position"
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise ValueError(f"{path!r} is a ScriptModule, whose forward is fixed; insert before scripting")
    if "forward" in vars(module):
        raise ValueError(f"{path!r} ({kind}) has a forward of its own, set on the instance, which would win; remove it")
    if isinstance(module, nn.modules.batchnorm._NormBase):
        raise ValueError(
            f"{path!r} is a {kind}, which SyncBN conversion and conv-BN folding replace; choose the module around it"
        )
    if parametrize.is_parametrized(module):
        raise ValueError(f"{path!r} ({kind}) is parametrised; insert first, or choose the module around it")
    if getattr(forward_owner(base), "forward", None) is nn.Module.forward:
        raise ValueError(f"{path!r} is a {kind}, which has no forward and is never called; choose its children")
    check_position(position, base, path)
    if fuse_residual:
        misfits = list(check_epilogue(position, base, path).misfits(module))
        if misfits:
            raise ValueError(
                f"fuse_residual=True is not possible in {path!r} ({kind}): {'; '.join(misfits)}. Leave it out, or "
                "choose other blocks"
            )
    try:
        context_class(base, (*places_of(module), Place(position, free_name(module), fuse_residual)))
    except ValueError:
        raise
    except Exception as error:  # whatever a metaclass or __init_subclass__ raises
        raise ValueError(f"{path!r} ({kind}) cannot be subclassed: {error}") from error


def attach(module: nn.Module, place: Place, block: Any) -> None:
    """Make ``block`` a child of ``module``, applied at ``place``."""
    subclass = context_class(original_class(module), (*places_of(module), place))
    block.enabled = True
    module._modules[place.name] = block
    module.__class__ = subclass


def switch(block: Any, enabled: bool) -> None:
    """Turn an attached block on or off, also for code that walks over the children of its host and calls it itself."""
    block.enabled = enabled
    if enabled:
        vars(block).pop("forward", None)
    else:
        block.forward = hand_on


def hand_on(x: Tensor) -> Tensor:
    """The forward of a block that is switched off."""
    return x


def detach(module: nn.Module, name: str) -> None:
    """Undo :func:`attach` for the child ``name``."""
    left = tuple(place for place in places_of(module) if place.name != name)
    base = original_class(module)
    module.__class__ = context_class(base, left) if left else base
    del module._modules[name]


def check_model(model: Any) -> None:
    """Raise TypeError unless ``model`` is a module that is built."""
    if not isinstance(model, nn.Module):
        hint = "; call it first" if callable(model) else ", such as torchvision.models.resnet50()"
        raise TypeError(f"model={repr(model)[:80]} is not a built nn.Module{hint}")


def check_unwrapped(model: nn.Module, verb: str) -> None:
    """Raise RuntimeError if ``model`` or a module in it is compiled, scripted or distributed already."""
    check_model(model)
    for path, module in model.named_modules():
        kind = _wrapping(module)
        if kind:
            where = f"{path!r} in the model" if path else "the model"
            raise RuntimeError(
                f"cannot {verb} blocks: {where} is {kind}. Insertion and removal come first, then DDP, FSDP "
                "or compile; gcnet.disable and gcnet.enable work at any time"
            )


def _wrapping(module: nn.Module) -> str | None:
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return "wrapped in DistributedDataParallel"
    if isinstance(module, torch.jit.ScriptModule):
        return "a ScriptModule"
    if module._compiled_call_impl is not None:
        return "compiled by Module.compile()"
    for library, name, kind in (
        ("torch._dynamo.eval_frame", "OptimizedModule", "compiled by torch.compile"),
        ("torch.distributed.fsdp", "FSDPModule", "sharded by fully_shard (FSDP2)"),
        ("torch.distributed.fsdp", "FullyShardedDataParallel", "wrapped in FullyShardedDataParallel"),
    ):
        loaded = sys.modules.get(library)
        if loaded is not None and isinstance(module, getattr(loaded, name, ())):
            return kind
    return None
