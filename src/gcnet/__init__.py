"""gcnet: global-context attention (GCNet, arXiv:1904.11492) for PyTorch."""

import importlib
from typing import Any

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
    "capture",
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

_LAZY_MODULES = ("analysis", "models")
# load and save are not in __all__, which holds what torch alone suffices for: they need gcnet[models]
_LAZY_FUNCTIONS = {
    "capture": "gcnet.analysis.capture",
    "load": "gcnet.checkpoints.load",
    "save": "gcnet.checkpoints.save",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"gcnet.{name}")
    if name in _LAZY_FUNCTIONS:
        return getattr(importlib.import_module(_LAZY_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'gcnet' has no attribute {name!r}")
