"""Short names of the blocks, as the command line uses them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from gcnet import blocks
from gcnet.blocks.base import Block, BlockSpec, check_choice

BLOCKS: dict[str, type[Block]] = {
    "gc": blocks.GlobalContext,
    "snl": blocks.SimplifiedNonLocal,
    "nl": blocks.NonLocal,
    "se": blocks.SqueezeExcite,
    "cbam": blocks.CBAM,
    "bam": blocks.BAM,
    "scse": blocks.SCSE,
    "sk": blocks.SelectiveKernel,
}


def block_spec(
    name: str, ratio: float | None = None, *, init: str = "published", options: Mapping[str, Any] | None = None
) -> BlockSpec | None:
    """The block of that name; ``"none"`` stands for no block at all.

    Args:
        name: "none", "gc", "snl", "nl", "se", "cbam", "bam", "scse" or "sk".
        ratio: hidden width / channels; None for the block's own default.
        init: start of the block; selective kernels have one start only.
        options: further options of the block.

    Raises:
        ValueError: an unknown name or option, with the nearest; a ratio for a block that has none; options for none.

    Example:
        >>> block_spec("gc", 1/4)
        GlobalContext.spec(ratio=1/4, init='published', gate='published')
        >>> block_spec("none") is None
        True
    """
    check_choice("block", name, ("none", *BLOCKS))
    if name == "none":
        if options:
            raise ValueError(f"options {', '.join(options)}: block 'none' has no options")
        return None
    block = BLOCKS[name]
    options = dict(options or {})
    if ratio is not None:
        if "ratio" not in inspect.signature(block).parameters:
            raise ValueError(f"ratio={ratio}: block {name!r} has no hidden layer; leave ratio out, or give None")
        options["ratio"] = ratio
    if block.can_be_identity:
        options["init"] = init
    try:
        return block.spec(**options)
    except TypeError as error:
        raise ValueError(str(error)) from error
