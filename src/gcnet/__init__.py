"""gcnet: global-context attention (GCNet, arXiv:1904.11492) for PyTorch."""

from gcnet import ops
from gcnet.blocks import (
    BAM,
    CBAM,
    SCSE,
    Block,
    BlockSpec,
    ContextBlock,
    GlobalContext,
    NonLocal,
    SelectiveKernel,
    SimplifiedNonLocal,
    SqueezeExcite,
)

__version__ = "0.1.0"

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
    "ops",
]
