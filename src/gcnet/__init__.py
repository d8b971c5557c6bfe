"""gcnet: global-context attention (GCNet, arXiv:1904.11492) for PyTorch."""

from gcnet import ops
from gcnet.blocks import (
    Block,
    BlockSpec,
    ContextBlock,
    GlobalContext,
    NonLocal,
    SimplifiedNonLocal,
    SqueezeExcite,
)

__version__ = "0.1.0"

__all__ = [
    "Block",
    "BlockSpec",
    "ContextBlock",
    "GlobalContext",
    "NonLocal",
    "SimplifiedNonLocal",
    "SqueezeExcite",
    "ops",
]
