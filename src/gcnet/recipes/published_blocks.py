"""The blocks of the GCNet paper and their places in a ResNet-50, as fields of a configuration."""

from __future__ import annotations

from typing import Any

from gcnet.models import non_local_places

Fields = dict[str, Any]


def everywhere(block: str, **fields: Any) -> Fields:
    """In every residual block of c3, c4 and c5, before the shortcut is added."""
    return {"block": block, "stages": ("c3", "c4", "c5"), "position": "after_1x1", "init": "published", **fields}


def at_places(blocks: int, block: str, **fields: Any) -> Fields:
    """1 right before the last residual block of c4, or 5 in c3 and c4 as in the non-local networks."""
    where = {"match": non_local_places(blocks), "position": "after_block"}
    return {"block": block, **where, "init": "published", **fields}


NONE: Fields = {"block": "none"}
GC_R16 = everywhere("gc", ratio=1 / 16)
GC_R4 = everywhere("gc", ratio=1 / 4)
