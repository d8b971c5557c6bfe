"""Attention blocks as modules, one file per published idea."""

from gcnet.blocks.base import Block, BlockSpec
from gcnet.blocks.context_block import ContextBlock
from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.blocks.simplified_non_local import SimplifiedNonLocal
from gcnet.blocks.squeeze_excite import SqueezeExcite

__all__ = [
    "Block",
    "BlockSpec",
    "ContextBlock",
    "GlobalContext",
    "NonLocal",
    "SimplifiedNonLocal",
    "SqueezeExcite",
]
