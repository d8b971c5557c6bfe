"""Which keys of a state dict a network layout accounts for, by their names alone, and which layout fits best."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from gcnet.layouts import BLOCK_LAYOUTS, NETWORK_LAYOUTS
from gcnet.layouts.detect import find_blocks
from gcnet.layouts.network import Child, NetworkLayout, Rename, fits
from gcnet.layouts.table import BlockLayout

CHILD_NAME = "context_block"
_ALL = "gcnet convert --list names all of them"


class Found(NamedTuple):
    """A foreign block: our path of its residual block and name there, or its own path and None if it is in place."""

    layout: BlockLayout
    path: str
    name: str | None
    child: Child | None

    @property
    def ours(self) -> str:
        """What our keys of the block start with."""
        path = self.path if self.name is None else f"{self.path}.{self.name}"
        return f"{path}." if path else ""


@dataclass(frozen=True)
class Survey:
    """What a layout makes of the keys of a state dict.

    Attributes:
        layout: the layout.
        host: their key -> our key and the rename between them.
        blocks: what their keys of a block start with -> the block.
        unused: keys that the layout has no place for.
    """

    layout: NetworkLayout
    host: Mapping[str, tuple[str, Rename]]
    blocks: Mapping[str, Found]
    unused: tuple[str, ...]

    @property
    def meaning(self) -> tuple[object, ...]:
        """Equal for two layouts that read the same out of the same keys."""
        blocks = {prefix: (found.layout.block, found.ours) for prefix, found in self.blocks.items()}
        return {name: ours for name, (ours, _) in self.host.items()}, blocks


def survey(keys: Iterable[str], layout: NetworkLayout) -> Survey:
    """Sort keys into those of the host, those of blocks, and the rest."""
    keys = tuple(keys)
    blocks = _in_place(keys, layout) if layout.in_place else _children(keys, layout)
    inside = tuple(blocks)
    host: dict[str, tuple[str, Rename]] = {}
    unused = []
    for key in keys:
        if key.startswith(inside):
            continue
        renamed = _renamed(key, layout)
        if renamed is None:
            unused.append(key)
        else:
            host[key] = renamed
    return Survey(layout, host, blocks, tuple(unused))


def detect(tensors: Mapping[str, Tensor]) -> Survey:
    """The survey of the layout that leaves the fewest keys unused; layouts of whole networks come first.

    Raises:
        ValueError: no layout fits, with the nearest; or several fit that disagree.

    Example:
        >>> from torchvision.models import resnet18
        >>> detect(resnet18().state_dict()).layout.name
        'gcnet'
    """
    keys = tuple(tensors)
    fitting = [layout for layout in NETWORK_LAYOUTS.values() if not layout.in_place and not _unmarked(keys, layout)]
    surveys = [survey(keys, layout) for layout in fitting]
    if not surveys:
        present = {layout.name for _, layouts in find_blocks(tensors) for layout in layouts}
        surveys = [survey(keys, layout) for layout in NETWORK_LAYOUTS.values() if present.intersection(layout.in_place)]
        fewest = min((len(one.host) for one in surveys), default=0)
        surveys = [one for one in surveys if len(one.host) == fewest]
    if not surveys:
        raise _unknown(keys)
    fewest = min(len(one.unused) for one in surveys)
    best = [one for one in surveys if len(one.unused) == fewest]
    if any(one.meaning != best[0].meaning for one in best):
        names = ", ".join(repr(str(one.layout)) for one in best)
        raise ValueError(f"several layouts fit and disagree: {names}; say which with layout= (--from)")
    return best[0]


def layout_named(name: str) -> NetworkLayout:
    """The layout of that name.

    Raises:
        ValueError: unknown, with the nearest.
    """
    if name not in NETWORK_LAYOUTS:
        near = difflib.get_close_matches(name, NETWORK_LAYOUTS, n=1, cutoff=0.3)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise ValueError(f"unknown layout {name!r}{hint} {_ALL}")
    return NETWORK_LAYOUTS[name]


def check_style(style: str, layout: NetworkLayout) -> None:
    """ValueError if a detector's layout is for the other order of colours."""
    other = f"{layout} caffe" if style == "caffe" else str(layout).removesuffix(" caffe")
    if style != layout.assumed["style"] and other in NETWORK_LAYOUTS:
        raise ValueError(f"style={style!r} does not go with {layout}, say layout={other!r} (--from)")


def _renamed(key: str, layout: NetworkLayout) -> tuple[str, Rename] | None:
    if layout.in_place:
        return key, Rename(key, key)
    for rename in layout.renames:
        ours = rename.ours_of(key)
        if ours is not None:
            return ours, rename
    return None


def _unmarked(keys: tuple[str, ...], layout: NetworkLayout) -> list[str]:
    return [mark for mark in layout.marks if not any(fits(mark, key) is not None for key in keys)]


def _unknown(keys: tuple[str, ...]) -> ValueError:
    networks = [layout for layout in NETWORK_LAYOUTS.values() if not layout.in_place]
    near = min(networks, key=lambda layout: len(_unmarked(keys, layout)) / len(layout.marks))
    lacking = _unmarked(keys, near)
    hint = f"the nearest is {near.name!r}, which has {', '.join(lacking)}" if len(lacking) < len(near.marks) else ""
    start = ", ".join(keys[:3]) or "no keys at all"
    return ValueError("; ".join(filter(None, (f"no layout fits these {len(keys)} keys ({start} ...)", hint, _ALL))))


def _children(keys: tuple[str, ...], layout: NetworkLayout) -> dict[str, Found]:
    """Blocks inside residual blocks."""
    groups: dict[str, list[str]] = {}
    kinds: dict[str, tuple[str, str, list[Child]]] = {}
    for key in keys:
        for child in layout.children:
            fields = fits(f"{layout.site.theirs}.{child.name}{{postfix}}.{{rest}}", key)
            if fields is None:
                continue
            prefix = key[: len(key) - len(fields["rest"])]
            groups.setdefault(prefix, []).append(fields["rest"])
            site = layout.site.ours.format(**fields)
            children = kinds.setdefault(prefix, (site, fields["postfix"], []))[2]
            if child not in children:
                children.append(child)
    found: dict[str, Found] = {}
    for prefix, (site, postfix, children) in kinds.items():
        fitting = [child for child in children if _anchored(child.layout, groups[prefix])]
        if fitting:
            child = fitting[0]
            taken = {block.name for block in found.values() if block.path == site}
            found[prefix] = Found(BLOCK_LAYOUTS[child.layout], site, _free(f"{CHILD_NAME}{postfix}", taken), child)
    return found


def _in_place(keys: tuple[str, ...], layout: NetworkLayout) -> dict[str, Found]:
    """Blocks anywhere."""
    known = set(keys)
    found: dict[str, Found] = {}
    for name in layout.in_place:
        block = BLOCK_LAYOUTS[name]
        for anchor in block.anchors:
            for key in keys:
                prefix = key.removesuffix(anchor[0])
                whole = prefix == "" or prefix.endswith(".")
                if key.endswith(anchor[0]) and whole and all(prefix + other in known for other in anchor):
                    found.setdefault(prefix, Found(block, prefix.removesuffix("."), None, None))
    return found


def _anchored(name: str, keys: Iterable[str]) -> bool:
    present = set(keys)
    return any(present.issuperset(anchor) for anchor in BLOCK_LAYOUTS[name].anchors)


def _free(name: str, taken: set[str | None]) -> str:
    """``name``, or the first numbered one that is not taken."""
    if name not in taken:
        return name
    return next(free for number in range(2, 99) if (free := f"{CHILD_NAME}{number}") not in taken)
