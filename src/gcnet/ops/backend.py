"""Which implementation of an op runs: chosen automatically, or forced."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch

Implementation = TypeVar("Implementation", bound=Callable[..., object])

BACKENDS = ("reference", "eager")

_logger = logging.getLogger(__name__)
_forced: str | None = os.environ.get("GCNET_BACKEND") or None


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Force one implementation of every op inside a ``with`` block, in the whole process.

    Args:
        name: ``"reference"`` (the formula, slow and obvious) or ``"eager"`` (ATen calls). The environment variable
            ``GCNET_BACKEND`` does the same from outside.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> import torch, gcnet
        >>> block, x = gcnet.GlobalContext(32), torch.randn(2, 32, 7, 7)
        >>> with gcnet.ops.backend("reference"):
        ...     judge = block(x)
        >>> torch.allclose(block(x), judge)
        True
    """
    global _forced
    before = _forced
    _forced = _checked(name)
    try:
        yield
    finally:
        _forced = before


def choose(op: str, implementations: Mapping[str, Implementation]) -> Implementation:
    """The implementation of ``op`` to run now."""
    name = "eager" if _forced is None else _checked(_forced)
    if not torch.compiler.is_compiling():
        _logger.debug("%s: %s", op, name)
    return implementations[name]


def _checked(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; there are {', '.join(map(repr, BACKENDS))}")
    return name
