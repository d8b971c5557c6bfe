"""Randomness without state: every random choice of a training is a function of its seed and of where it is made.

Nothing random has to be saved with a checkpoint, and a run that goes on after any interruption draws what it would have
drawn.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def mix(*key: int) -> int:
    """A 63-bit seed out of several numbers.

    Example:
        >>> mix(0, 1) != mix(1, 0), mix(0, 1) == mix(0, 1)
        (True, True)
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Python's, NumPy's and torch's CPU generators follow from ``key`` inside, and are what they were afterwards.

    Example:
        >>> with seeded(0, 3):
        ...     first = torch.rand(2)
        >>> with seeded(0, 3):
        ...     assert torch.equal(torch.rand(2), first)
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (what transforms draw from)
    seed = mix(*key)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
