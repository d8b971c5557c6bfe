"""The implementations of the passes that take a map, by name."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os

import torch
from torch import Tensor

from gcnet.ops.backend import constant_when_compiling
from gcnet.ops.context import eager, native
from gcnet.ops.context.passes import Passes

#: Whether the Triton kernels run on CPU tensors, for tests.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def triton_passes() -> Passes | None:
    """The Triton kernels, imported at the first map that might use them; None where triton is not installed."""
    if importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module("gcnet.ops.context.triton")


def implementations(x: Tensor) -> dict[str, Passes]:
    """Every implementation that takes ``x`` when all is computed in float32; always ``"eager"``."""
    found: dict[str, Passes] = {"eager": eager}
    if x.is_cuda or INTERPRETED:
        kernels = triton_passes()
        if kernels is not None and kernels.supports(x):
            found["triton"] = kernels
    if native.supports(x):
        found["native"] = native
    return found


@constant_when_compiling
def operator_backend(device: str, dtype: torch.dtype) -> str | None:
    """Which backend the operator has for maps of this kind, the layout apart; None if it has none."""
    if (device == "cuda" or INTERPRETED) and triton_passes() is not None:
        return "triton" if dtype in (torch.float32, torch.bfloat16, torch.float16) else None
    if device == "cpu" and native.is_installed():
        return "native" if dtype in (torch.float32, torch.bfloat16) else None
    return None
