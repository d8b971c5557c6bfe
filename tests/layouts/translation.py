"""A state dict through the tables of a network layout, block by block and key by key."""

from __future__ import annotations

from torch import Tensor

from gcnet import layouts
from gcnet.layouts import mmcv
from gcnet.layouts.network import NetworkLayout


def to_ours(layout: NetworkLayout, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Theirs with mmcv's ContextBlocks to ours; KeyError for a key without a counterpart."""
    ours = {}
    for name, value in state.items():
        at, block, key = name.rpartition("context_block.")
        if block:
            ((key, value),) = layouts.to_ours(mmcv.CONTEXT_BLOCK, {key: value}).items()
            ours[f"{layout.site.ours_of(at[:-1])}.{block}{key}"] = value
            continue
        rename = _the_one(layout.renames, "ours_of", name)
        ours[rename.ours_of(name)] = rename.change.to_ours(value) if rename.change else value
    return ours


def to_theirs(layout: NetworkLayout, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The way back."""
    theirs = {}
    for name, value in state.items():
        at, block, key = name.rpartition("context_block.")
        if block:
            ((key, value),) = layouts.to_theirs(mmcv.CONTEXT_BLOCK, {key: value}).items()
            theirs[f"{layout.site.theirs_of(at[:-1])}.{block}{key}"] = value
            continue
        rename = _the_one(layout.renames, "theirs_of", name)
        theirs[rename.theirs_of(name)] = rename.change.to_theirs(value) if rename.change else value
    return theirs


def _the_one(renames, way, name):
    fitting = [rename for rename in renames if getattr(rename, way)(name)]
    if len(fitting) != 1:
        raise KeyError(f"{name}: {len(fitting)} renames fit")
    return fitting[0]
