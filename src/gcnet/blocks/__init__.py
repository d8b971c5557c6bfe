"""Attention blocks as modules, one file per published idea."""

from gcnet.blocks.bam import BAM
from gcnet.blocks.base import Block, BlockSpec
from gcnet.blocks.cbam import CBAM
from gcnet.blocks.context_block import ContextBlock
from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.blocks.scse import SCSE
from gcnet.blocks.selective_kernel import SelectiveKernel
from gcnet.blocks.simplified_non_local import SimplifiedNonLocal
from gcnet.blocks.squeeze_excite import SqueezeExcite

__all__ = [
    "BAM",
    "CBAM",
    "SCSE",
    "Block",
    "BlockSpec",
    "ContextBlock",
    "GlobalContext",
    "NonLocal",
    "SelectiveKernel",
    "SimplifiedNonLocal",
    "SqueezeExcite",
]
