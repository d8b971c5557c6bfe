"""Which blocks of other libraries a state dict holds, by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from gcnet.layouts import BLOCK_LAYOUTS
from gcnet.layouts.reading import built
from gcnet.layouts.table import BlockLayout


class FoundBlock(NamedTuple):
    """A block: what its keys start with, and the layouts that fit it, in the order of ``BLOCK_LAYOUTS``."""

    prefix: str
    layouts: tuple[BlockLayout, ...]


def find_blocks(tensors: Mapping[str, Tensor]) -> list[FoundBlock]:
    """The blocks in a flat state dict, in its order.

    A prefix is a block of a layout if all its tensors, and no others, have the names and shapes of one, with an inner
    width that is not above the outer; counters that old files lack are not asked for. Several layouts may fit, where
    sources share their keys.

    Args:
        tensors: flat state dict of a network, or of a block alone, whose prefix is ``""``.

    Example:
        >>> from torch import nn
        >>> from torchvision.ops import SqueezeExcitation
        >>> from gcnet.layouts.detect import find_blocks
        >>> model = nn.Sequential(nn.Conv2d(3, 32, 1), SqueezeExcitation(32, 8))
        >>> [(prefix, [layout.name for layout in layouts]) for prefix, layouts in find_blocks(model.state_dict())]
        [('1.', ['timm SEModule', 'torchvision SqueezeExcitation'])]
    """
    found = []
    for prefix in dict.fromkeys(prefix for key in tensors for prefix in _prefixes(key)):
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        layouts = tuple(layout for layout in BLOCK_LAYOUTS.values() if _fits(layout, own))
        if layouts:
            found.append(FoundBlock(prefix, layouts))
    return found


def _prefixes(key: str) -> Iterator[str]:
    """What ``key`` starts with where it is the first tensor of an anchor."""
    for layout in BLOCK_LAYOUTS.values():
        for anchor in layout.anchors:
            prefix = key.removesuffix(anchor[0])
            if prefix != key and (not prefix or prefix.endswith(".")):
                yield prefix


def _fits(layout: BlockLayout, own: Mapping[str, Tensor]) -> bool:
    if not any(own.keys() >= set(anchor) for anchor in layout.anchors):
        return False
    try:
        reading = layout.read(own, {})
    except ValueError:
        return False
    needed = built(layout.block, reading).state_dict().keys()
    hidden = reading.options.get("hidden") or 0
    if hidden > reading.channels:  # an MLP of 1x1 convolutions has the names and shapes of an SE
        return False
    names = {key.theirs: key.ours for key in reading.keys}
    if any(name not in names for name in own):
        return False
    missing = needed - {names[name] for name in own}
    return all(name.endswith("num_batches_tracked") for name in missing)
