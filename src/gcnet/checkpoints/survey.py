"""Which keys of a state dict a network layout accounts for, and which layout fits best."""

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


def survey(tensors: Mapping[str, Tensor], layout: NetworkLayout) -> Survey:
    """Sort keys into those of the host, those of blocks, and the rest."""
    blocks = _in_place(tensors, layout) if layout.in_place else _children(tuple(tensors), layout)
    return _sorted(tensors, layout, blocks)


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
    surveys = [survey(tensors, layout) for layout in fitting] or _of_blocks(tensors)
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


def _sorted(keys: Iterable[str], layout: NetworkLayout, blocks: Mapping[str, Found]) -> Survey:
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


def _in_place(tensors: Mapping[str, Tensor], layout: NetworkLayout) -> dict[str, Found]:
    """Blocks anywhere, by their names; those that cannot be read count only if none can, so that an error says why."""
    named = {
        prefix: Found(BLOCK_LAYOUTS[name], prefix.removesuffix("."), None, None)
        for name in layout.in_place
        for anchor in BLOCK_LAYOUTS[name].anchors
        for prefix in _starts(tensors, anchor)
    }
    readable = {prefix: found for prefix, found in named.items() if _readable(tensors, prefix, found.layout)}
    return readable or named


def _starts(keys: Iterable[str], anchor: tuple[str, ...]) -> list[str]:
    """What all keys of an anchor start with somewhere."""
    known = set(keys)
    prefixes = (key.removesuffix(anchor[0]) for key in keys if f".{key}".endswith(f".{anchor[0]}"))
    return [prefix for prefix in prefixes if known.issuperset(prefix + other for other in anchor)]


def _readable(tensors: Mapping[str, Tensor], prefix: str, layout: BlockLayout) -> bool:
    try:
        layout.read({key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)}, {})
    except ValueError:
        return False
    return True


def _of_blocks(tensors: Mapping[str, Tensor]) -> list[Survey]:
    """A survey per layout of a block that fits all the blocks in ``tensors``.

    Raises:
        ValueError: none fits them all.
    """
    blocks = find_blocks(tensors)
    layouts = {layout.name: layout for _, fitting in blocks for layout in fitting}
    common = [layout for layout in layouts.values() if all(layout in fitting for _, fitting in blocks)]
    if blocks and not common:
        one = {", ".join(map(repr, map(str, fitting))): prefix.removesuffix(".") for prefix, fitting in blocks}
        places = "; ".join(f"{path!r} is {names}" for names, path in one.items())
        raise ValueError(
            f"the file has blocks of several layouts: {places}; say which to convert with layout= (--from)"
        )
    return [
        _sorted(
            tensors,
            NETWORK_LAYOUTS[layout.name],
            {prefix: Found(layout, prefix.removesuffix("."), None, None) for prefix, _ in blocks},
        )
        for layout in common
    ]


def _anchored(name: str, keys: Iterable[str]) -> bool:
    present = set(keys)
    return any(present.issuperset(anchor) for anchor in BLOCK_LAYOUTS[name].anchors)


def _free(name: str, taken: set[str | None]) -> str:
    """``name``, or the first numbered one that is not taken."""
    if name not in taken:
        return name
    return next(free for number in range(2, 99) if (free := f"{CHILD_NAME}{number}") not in taken)
