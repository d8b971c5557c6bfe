"""gcnet: global-context attention (GCNet, arXiv:1904.11492) for PyTorch."""

import importlib
from types import ModuleType

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
from gcnet.insertion import (
    added_parameters,
    added_state_dict,
    disable,
    disabled,
    enable,
    insert,
    load_host,
    param_groups,
    plan,
    remove,
    status,
    swap,
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
    "added_parameters",
    "added_state_dict",
    "analysis",
    "disable",
    "disabled",
    "enable",
    "insert",
    "load_host",
    "ops",
    "param_groups",
    "plan",
    "remove",
    "status",
    "swap",
]

_LAZY = ("analysis", "models")


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"gcnet.{name}")
    raise AttributeError(f"module 'gcnet' has no attribute {name!r}")
