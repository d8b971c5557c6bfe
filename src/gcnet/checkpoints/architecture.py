"""What a file says about a model: its host, and which blocks are where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from gcnet.blocks.base import Block, BlockSpec, check_channels, check_choice, check_dims
from gcnet.blocks.plain import fields, spec_from_dict, spec_to_dict
from gcnet.insertion.attach import CHILD_NAME, added_blocks, detach, original_class, places_of, switch
from gcnet.insertion.families import POSITIONS
from gcnet.insertion.insert import insert
from gcnet.insertion.plan import Plan, Site
from gcnet.insertion.probe import conv_dims
from gcnet.insertion.state import unwrapped
from gcnet.models.hosts import Host, describe_host
from gcnet.models.sameness import block_paths, first_difference


@dataclass(frozen=True)
class Placed:
    """One block attached to a module of the host, as :func:`gcnet.insert` does it.

    Attributes:
        path: path of the module that has it.
        name: its name there, ``"context_block"`` with a number from the second on.
        position: where it is applied, such as ``"after_1x1"``.
        channels: C.
        dims: number of spatial axes.
        spec: the block.
        enabled: whether it is applied at all.
        fuse_residual: whether it takes over the shortcut and the ReLU of its host.
    """

    path: str
    name: str
    position: str
    channels: int
    dims: int
    spec: BlockSpec
    enabled: bool = True
    fuse_residual: bool = False

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_dims(self.dims)
        check_choice("position", self.position, POSITIONS)
        if not re.fullmatch(rf"{CHILD_NAME}\d*", self.name):
            raise ValueError(f"name={self.name[:80]!r} must be {CHILD_NAME!r}, with a number or without")

    @property
    def block_path(self) -> str:
        """Path of the block itself."""
        return f"{self.path}.{self.name}" if self.path else self.name

    def put_into(self, model: nn.Module, undo: ExitStack) -> None:
        """Attach such a block, unless it is there already."""
        host = _module(model, self.path)
        present = next((place for place in places_of(host) if place.position == self.position), None)
        if present is None:
            site = Site(
                self.path, self.position, self.name, None, self.channels, self.dims, None, 0, self.fuse_residual
            )
            insert(model, Plan(self.spec, (site,), changes_output=False))
            undo.callback(detach, host, self.name)
        elif present.name != self.name or _difference(
            host.get_submodule(self.name), self.spec, self.channels, self.dims
        ):
            found = host.get_submodule(present.name)
            raise ValueError(
                f"{self.path!r} has a {type(found).__name__} {self.position} as {present.name!r} already, which is not "
                f"the {self.spec!r} of {self.channels} channels called {self.name!r} that belongs there"
            )


@dataclass(frozen=True)
class Replaced:
    """One block in the place of a module of the host, as after :func:`gcnet.swap`; at the path ``""`` the whole model.

    Attributes:
        path: path of the block, the first if it has several.
        channels: C.
        spec: the block.
        dims: number of spatial axes.
    """

    path: str
    channels: int
    spec: BlockSpec
    dims: int = 2

    def __post_init__(self) -> None:
        check_channels(self.channels)
        check_dims(self.dims)

    @property
    def block_path(self) -> str:
        """Path of the block itself."""
        return self.path

    def build(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Block:
        """The block, with random weights."""
        return self.spec.build(self.channels, dims=self.dims, device=device, dtype=dtype)

    def put_into(self, model: nn.Module, undo: ExitStack) -> None:
        """Put such a block in the place of the module, wherever that is held, unless it is there already."""
        old = _module(model, self.path)
        if _difference(old, self.spec, self.channels, self.dims) is None:
            return
        if not self.path or isinstance(old, Block):
            raise ValueError(
                f"{self.path or 'the model'!r} is a {type(old).__name__}, not the {self.spec!r} of {self.channels} "
                "channels that belongs there"
            )
        like = next((p for p in (*old.parameters(), *model.parameters()) if p.is_floating_point()), torch.empty(0))
        block = self.build(like.device, like.dtype).train(old.training)
        for holder, name in [(m, name) for m in model.modules() for name, child in m._modules.items() if child is old]:
            holder._modules[name] = block
            undo.callback(holder._modules.__setitem__, name, old)


@dataclass(frozen=True)
class Architecture:
    """How a model is built: its host, the blocks attached to it, and the blocks in the place of its modules.

    Attributes:
        host: None for a model that has no name, or for a block alone.
        placed: attached blocks, in the order of the network.
        replaced: blocks in the place of a module.

    Example:
        >>> import gcnet
        >>> from torchvision.models import resnet18
        >>> model = resnet18()
        >>> _ = gcnet.insert(model, gcnet.SqueezeExcite.spec(ratio=1/4), stages="c5")
        >>> architecture = Architecture.of(model)
        >>> [block.block_path for block in architecture.placed]
        ['layer4.0.context_block', 'layer4.1.context_block']
        >>> gcnet.status(architecture.build("meta")) == gcnet.status(model)
        True
    """

    host: Host | None
    placed: tuple[Placed, ...] = ()
    replaced: tuple[Replaced, ...] = ()

    @property
    def blocks(self) -> tuple[Placed | Replaced, ...]:
        """All blocks, those first that others may be attached to."""
        return (*self.replaced, *self.placed)

    @property
    def is_block(self) -> bool:
        """Whether it is a block alone."""
        return self.host is None and not self.placed and [block.path for block in self.replaced] == [""]

    @classmethod
    def of(cls, model: nn.Module, host: Host | None = None) -> Architecture:
        """Describe a model; ``host`` says what it was before, where that cannot be seen.

        Raises:
            ValueError: a block whose layers were changed after it was built, or that remembers no options.
        """
        model = unwrapped(model)
        placed = tuple(_placed(*added) for added in added_blocks(model))
        attached = {block.block_path for block in placed}
        replaced = {}
        for path, block in block_paths(model).items():
            if path not in attached and block not in replaced:
                dims = getattr(block, "dims", 2)
                replaced[block] = Replaced(path, block.channels, _specification(path, block, dims), dims)
        alone = "" in {block.path for block in replaced.values()}
        return cls(host or (None if alone else describe_host(model)), placed, tuple(replaced.values()))

    def build(self, device: torch.device | str | None = None) -> nn.Module:
        """The model, with random weights.

        Raises:
            ValueError: no host is named, or the blocks do not fit it.
        """
        if self.host is not None:
            model = self.host.build(device)
            self.insert_into(model)
            return model
        if self.is_block:
            return self.replaced[0].build(device)
        raise ValueError("it is not known how the host of these blocks is built: give the host itself as model=")

    def insert_into(self, model: nn.Module) -> None:
        """Put the blocks into a host, in place, unless they are there already. A failure leaves the host as it was.

        Raises:
            ValueError: a block that does not fit, or another one in its place.
            RuntimeError: a block to be put into a model that is compiled or distributed already.
        """
        with self.inserting(model):
            pass

    @contextmanager
    def inserting(self, model: nn.Module) -> Iterator[None]:
        """Context in which ``model`` has the blocks; they are taken out again if it ends in an exception."""
        with ExitStack() as undo:
            for block in self.blocks:
                block.put_into(model, undo)
            yield
            undo.pop_all()
        for placed in self.placed:
            switch(model.get_submodule(placed.block_path), placed.enabled)

    def block_shapes(self) -> dict[str, torch.Size]:
        """Key -> shape of every entry in the state dict that belongs to a block."""
        shapes = {}
        for block in self.blocks:
            built = block.spec.build(block.channels, dims=block.dims, device="meta")
            start = f"{block.block_path}." if block.block_path else ""
            shapes.update({start + key: value.shape for key, value in built.state_dict().items()})
        return shapes

    def block_prefixes(self) -> tuple[str, ...]:
        """What the names in the state dict of all these blocks start with."""
        return tuple(f"{block.block_path}." if block.block_path else "" for block in self.blocks)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON.

        Raises:
            ValueError: a block that is not of this package.
        """
        return {
            "host": self.host and self.host.to_dict(),
            "placed": [{**vars(block), "spec": spec_to_dict(block.spec)} for block in self.placed],
            "replaced": [{**vars(block), "spec": spec_to_dict(block.spec)} for block in self.replaced],
        }

    @classmethod
    def from_dict(cls, values: Any) -> Architecture:
        """The architecture in what :meth:`to_dict` wrote.

        Raises:
            ValueError: anything else, naming the entry.
        """
        host, placed, replaced = fields("architecture", values, host=dict | None, placed=list, replaced=list)
        return cls(
            None if host is None else Host.from_dict(host),
            tuple(Placed(**_entries("placed block", block, **_PLACED)) for block in placed),
            tuple(Replaced(**_entries("replaced block", block, **_REPLACED)) for block in replaced),
        )


_REPLACED: dict[str, Any] = {"path": str, "channels": int, "spec": dict, "dims": int}
_PLACED = {**_REPLACED, "name": str, "position": str, "enabled": bool, "fuse_residual": bool}


def _entries(what: str, values: Any, **kinds: Any) -> dict[str, Any]:
    entries = dict(zip(kinds, fields(what, values, **kinds), strict=True))
    return {**entries, "spec": spec_from_dict(entries["spec"])}


def _placed(path: str, host: nn.Module, place: Any, block: Any) -> Placed:
    dims = block.dims if block.has_spatial_kernels else min(conv_dims(host) or {2})
    spec = _specification(f"{path}.{place.name}", block, dims)
    return Placed(path, place.name, place.position, block.channels, dims, spec, block.enabled, place.fuse_residual)


def _specification(path: str, block: Block, dims: int) -> BlockSpec:
    try:
        spec = BlockSpec(cast(type[Block], original_class(block)), block.specification.options)
    except AttributeError as error:
        raise ValueError(f"the block {path!r} does not remember how it was built") from error
    difference = _difference(block, spec, block.channels, dims)
    if difference:
        raise ValueError(f"the block {path!r} was changed after it was built as {spec!r}: {difference}")
    return spec


def _difference(module: nn.Module, spec: BlockSpec, channels: int, dims: int) -> str | None:
    """What sets ``module`` apart from the block of ``spec``; context blocks in it are left aside."""
    inside = [place.name for place in places_of(module)]
    return first_difference(module, spec.build(channels, dims=dims, device="meta"), inside)


def _module(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        raise ValueError(
            f"the blocks do not fit this {type(model).__name__}: it has no module {path[:200]!r}"
        ) from None
