"""From our state dict to the layout of another library."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from gcnet.checkpoints.architecture import Architecture, Placed, Replaced
from gcnet.checkpoints.conversion import Conversion, what_happens
from gcnet.checkpoints.survey import CHILD_NAME, check_style
from gcnet.layouts import BLOCK_LAYOUTS
from gcnet.layouts.network import Child, NetworkLayout
from gcnet.layouts.table import BlockLayout
from gcnet.layouts.table import to_theirs as translate_block


class Writing:
    """The translation of one state dict; see :func:`gcnet.checkpoints.convert.to_theirs`."""

    def __init__(self, source: Mapping[str, Tensor], architecture: Architecture, layout: NetworkLayout) -> None:
        self.source, self.architecture, self.layout = source, architecture, layout
        self.tensors: dict[str, Tensor] = {}
        self.mapped: dict[str, str] = {}
        self.transformed: dict[str, str] = {}
        self.needs: dict[str, tuple[str, ...]] = {}
        self._check_host()

    def conversion(self) -> Conversion:
        """Everything translated."""
        for placed in self.architecture.placed:
            self._block(placed)
        for replaced in self.architecture.replaced:
            self._block(replaced)
        unused = []
        inside = self.architecture.block_prefixes()
        for ours, value in self.source.items():
            if not ours.startswith(inside) and not self._host(ours, value):
                unused.append(ours)
        order = {self.mapped[ours]: self.tensors[self.mapped[ours]] for ours in self.source if ours in self.mapped}
        return Conversion(
            order,
            self.architecture,
            "gcnet",
            str(self.layout),
            self.mapped,
            self.transformed,
            tuple(unused),
            needs=self.needs,
        )

    def _check_host(self) -> None:
        """Note, or refuse, what the tensors of the layout do not tell of this host."""
        host = self.architecture.host
        if host is None or self.layout.in_place or self.layout.name == "gcnet":
            return
        body = host.options.get("backbone") or host.options.get("of") or host.to_dict()
        style = "caffe" if body["options"].get("stride_in_1x1") else "pytorch"
        if "style" in self.layout.assumed:
            check_style(style, self.layout)
        elif style == "caffe":
            raise ValueError(f"{self.layout} strides in the 3x3 convolution, this network in the first 1x1 (caffe)")
        if style == "caffe":
            self.needs["backbone"] = ("style='caffe'",)
        conventions = host.options.get("conventions", "torchvision")
        if conventions != self.layout.assumed.get("conventions", conventions):
            self.needs["detector"] = (f"the arithmetic of {conventions}",)

    def _host(self, ours: str, value: Tensor) -> bool:
        if self.layout.in_place:
            self._put(ours, ours, value)
            return True
        for rename in self.layout.renames:
            theirs = rename.theirs_of(ours)
            if theirs is not None:
                if rename.change is not None:
                    value = rename.change.to_theirs(value)
                    self.transformed[theirs] = rename.change.name
                self._put(ours, theirs, value)
                return True
        return False

    def _put(self, ours: str, theirs: str, value: Tensor) -> None:
        self.tensors[theirs] = value
        self.mapped[ours] = theirs

    def _block(self, block: Placed | Replaced) -> None:
        prefix, layout = self._named(block)
        built = block.spec.build(block.channels, dims=block.dims, device="meta")
        start = f"{block.block_path}." if block.block_path else ""
        own = {key[len(start) :]: value for key, value in self.source.items() if key.startswith(start)}
        try:
            keys = {key.ours: key for key in layout.write(built, block.dims)}
            translated = translate_block(keys.values(), own)
            needs = (*layout.needs(built), *self._position(block))
        except ValueError as error:
            raise ValueError(f"{block.block_path or 'the block'} cannot become {layout}: {error}") from error
        if needs:
            self.needs[prefix.removesuffix(".")] = needs
        for name in own:
            key = keys[name]
            self._put(start + name, prefix + key.theirs, translated[key.theirs])
            what = what_happens(key, "added")
            if what:
                self.transformed[prefix + key.theirs] = what

    def _named(self, block: Placed | Replaced) -> tuple[str, BlockLayout]:
        """What their keys of the block start with, and its layout."""
        if isinstance(block, Replaced):
            for name in self.layout.in_place:
                if BLOCK_LAYOUTS[name].writes(block.spec.block):
                    return (f"{block.path}." if block.path else ""), BLOCK_LAYOUTS[name]
            raise ValueError(f"{self.layout} has no {block.spec.block.__name__} in the place of {block.path!r}")
        if not block.enabled:
            raise ValueError(f"{block.block_path} is disabled, which {self.layout} cannot say; remove or enable it")
        child = self._child(block)
        site = self.layout.site.theirs_of(block.path)
        if site is None:
            raise ValueError(f"{self.layout} has no residual block {block.path!r}")
        return f"{site}.{child.name}{self._postfix(block)}.", BLOCK_LAYOUTS[child.layout]

    def _child(self, block: Placed) -> Child:
        fitting = [child for child in self.layout.children if BLOCK_LAYOUTS[child.layout].writes(block.spec.block)]
        if not fitting:
            raise ValueError(f"{self.layout} has no {block.spec.block.__name__} inside a residual block")
        for child in fitting:
            if child.movable or child.position == block.position:
                return child
        raise ValueError(f"{block.block_path} is applied {block.position}, {self.layout} does so {fitting[0].position}")

    def _position(self, block: Placed | Replaced) -> tuple[str, ...]:
        """Where the block is applied, if the layout would not expect it there."""
        if isinstance(block, Replaced) or self._child(block).position == block.position:
            return ()
        return (f"position {block.position}",)

    def _postfix(self, block: Placed) -> str:
        """The number in the name; none if it only tells apart blocks of different kinds."""
        number = re.sub(CHILD_NAME, "", block.name)
        here = [other for other in self.architecture.placed if other.path == block.path]
        automatic = any(other.name == CHILD_NAME for other in here)
        alone = [other.spec.block for other in here].count(block.spec.block) == 1
        return "" if automatic and alone else number
