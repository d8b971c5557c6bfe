"""The one place where kernels are launched."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def launch(kernel: Any, programs: int, x: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run ``programs`` programs of ``kernel(x, *arguments, **constants)`` on the device and current stream of ``x``."""
    with torch.cuda.device_of(x):
        kernel[(programs,)](x, *arguments, **constants)
