"""Which implementation of an op runs: chosen automatically, or forced."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch

Implementation = TypeVar("Implementation", bound=Callable[..., object])

BACKENDS = ("reference", "eager", "native", "triton")
_PREFERENCE = ("triton", "native", "eager")

_logger = logging.getLogger(__name__)
_VARIABLE = "GCNET_BACKEND"


def _checked(name: str, source: str = "backend") -> str:
    if name not in BACKENDS:
        raise ValueError(f"{source}={name!r}: there is no such backend; there are {', '.join(map(repr, BACKENDS))}")
    return name


_default: str | None = _checked(os.environ[_VARIABLE], _VARIABLE) if os.environ.get(_VARIABLE) else None
_forced: str | None = _default
_entered: list[list[str]] = []  # in the order of entry; threads may leave in another


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
    entry = [_checked(name)]
    _entered.append(entry)
    _forced = name
    try:
        yield
    finally:
        _entered[:] = [other for other in _entered if other is not entry]
        _forced = _entered[-1][0] if _entered else _default


def constant_when_compiling(function: Implementation) -> Implementation:
    """``torch.compiler.assume_constant_result`` without the import of the compiler, which is slow."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def choose(op: str, implementations: Mapping[str, Implementation]) -> Implementation:
    """The implementation of ``op`` to run now, out of those that support its arguments.

    The forced one if it is among them, else the fastest.
    """
    name = _forced if _forced in implementations else next(n for n in _PREFERENCE if n in implementations)
    assert name is not None
    if not torch.compiler.is_compiling():
        _logger.debug("%s: %s", op, name)
    return implementations[name]
