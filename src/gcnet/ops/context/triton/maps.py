"""How a feature map lies in memory, how it is cut into tiles, and where an element of a tile is."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

INTERPRETED: bool = triton.knobs.runtime.interpret
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_LARGEST_SAMPLE = 2**30  # elements; offsets inside a sample have 32 bits
PROGRAMS = 256  # about two for each of the 132 multiprocessors of an H100 or H200


class Map(NamedTuple):
    """A dense feature map [N, C, P] in memory, or [N, P, C] if ``channels_last``."""

    samples: int
    channels: int
    positions: int
    channels_last: bool
    itemsize: int

    @property
    def unit(self) -> int:
        """A power of two that divides the length of a row of positions: what the width of loads depends on.

        The kernels take it as a constant and the number of units as a number, so that a new size of the map seldom
        means a new compilation.
        """
        return 1 if self.channels_last else power_of_two_divisor(self.positions)


def map_of(x: Tensor) -> Map:
    """The map that ``x`` [N, C, *spatial] is; ``supports(x)`` must hold."""
    samples, channels = x.shape[:2]
    positions = x.numel() // (samples * channels)
    return Map(samples, channels, positions, not x.is_contiguous(), x.element_size())


def supports(x: Tensor) -> bool:
    """Whether the kernels take ``x``: where, which dtype, how it lies in memory, and not empty."""
    return (
        (_runs_kernels(x.device) if x.is_cuda else INTERPRETED and x.device.type == "cpu")
        and x.dtype in _DTYPES
        and x.dim() >= 3
        and 0 < x.numel() <= x.shape[0] * _LARGEST_SAMPLE
        and (x.is_contiguous() or x.movedim(1, -1).is_contiguous())
    )


@lru_cache
def _runs_kernels(device: torch.device) -> bool:
    return torch.version.hip is None and torch.cuda.get_device_capability(device) >= (8, 0)


def power_of_two_divisor(number: int, largest: int = 16) -> int:
    """The largest power of two that divides ``number``, at most ``largest``."""
    return min(number & -number, largest)


@lru_cache
def two_sweep_tile(m: Map) -> tuple[int, int]:
    """Channels at a time and positions of a program that sweeps twice over all channels of its positions.

    Its features stay in L1 from one sweep to the next (64 KB), if that leaves enough programs; 4096 elements at a time.
    """
    positions = 64
    while positions > 8 and (
        positions * m.channels * m.itemsize > 65536 or m.samples * triton.cdiv(m.positions, positions) < PROGRAMS
    ):
        positions //= 2
    return min(4096 // positions, max(16, triton.next_power_of_2(m.channels))), positions


def steps_for(tiles: int, others: int, largest: int) -> int:
    """How many tiles one program takes in turn: a power of two, as large as leaves enough programs for the chip."""
    steps = largest
    while steps > 1 and (steps >= 2 * tiles or others * triton.cdiv(tiles, steps) < 4 * PROGRAMS):
        steps //= 2
    return steps


@triton.jit
def sample_offset(n, C: tl.constexpr, P):
    """Offset of sample ``n``, in 64 bits: a batch may have more than 2^31 elements, a sample may not."""
    return n.to(tl.int64) * (C * P)


@triton.jit
def offsets(c, p, C: tl.constexpr, P, CHANNELS_LAST: tl.constexpr):
    """Offsets [BC, BP] of channels ``c`` and positions ``p`` inside a sample."""
    if CHANNELS_LAST:
        result = c[:, None] + p[None, :] * C
    else:
        result = c[:, None] * P + p[None, :]
    return result


@triton.jit
def masks(c, p, C: tl.constexpr, P, BC: tl.constexpr):
    """Which elements [BC, BP] of the tile exist."""
    if C % BC == 0:
        result = tl.broadcast_to((p < P)[None, :], (c.shape[0], p.shape[0]))
    else:
        result = (c < C)[:, None] & (p < P)[None, :]
    return result
