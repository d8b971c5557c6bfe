"""Which implementation of an op runs: chosen automatically, or forced."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import torch

Implementation = TypeVar("Implementation")

BACKENDS = ("reference", "eager", "native", "triton")
_PREFERENCE = ("triton", "native", "eager")

_logger = logging.getLogger(__name__)
_VARIABLE = "GCNET_BACKEND"


def _checked(name: str, source: str = "backend") -> str:
    if name not in BACKENDS:
        raise ValueError(f"{source}={name!r}: there is no such backend; there are {', '.join(map(repr, BACKENDS))}")
    return name


def _check_available(name: str) -> None:
    if name == "native":
        from gcnet.ops import native_library

        with warnings.catch_warnings(action="ignore"):
            if native_library.library() is None:
                raise RuntimeError(f"backend 'native': {native_library.MISSING}; or use 'eager'")
    if name == "triton" and importlib.util.find_spec("triton") is None:
        raise RuntimeError("backend 'triton': the package triton is not installed; pip install triton, or use 'eager'")


_default: str | None = _checked(os.environ[_VARIABLE], _VARIABLE) if os.environ.get(_VARIABLE) else None
_forced: str | None = _default
_entered: list[list[str]] = []  # in the order of entry; threads may leave in another


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Force one implementation of every op inside a ``with`` block, in the whole process.

    Args:
        name: ``"reference"`` (the formula, slow and obvious), ``"eager"`` (ATen calls), ``"native"`` (C++ on CPUs) or
            ``"triton"`` (CUDA GPUs). Where the forced one does not support an op or its arguments, such as float64,
            ``"eager"`` runs. The environment variable ``GCNET_BACKEND`` does the same from outside.

    Raises:
        ValueError: an unknown name.
        RuntimeError: a backend that is not there: kernels that were not compiled, Triton that is not installed.

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
    _check_available(name)
    _entered.append(entry)
    _forced = name
    try:
        yield
    finally:
        _entered[:] = [other for other in _entered if other is not entry]
        _forced = _entered[-1][0] if _entered else _default


def _preference() -> tuple[str, ...]:
    return _PREFERENCE if _forced is None else (_forced, "eager")


def constant_when_compiling(function: Implementation) -> Implementation:
    """``torch.compiler.assume_constant_result`` without the import of the compiler, which is slow."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant_when_compiling
def is_exporting() -> bool:
    """Whether ``torch.export`` is at work. Inside the compiler of torch 2.11, torch's own answer is always yes."""
    return torch.compiler.is_exporting()


def choose(op: str, implementations: Mapping[str, Implementation]) -> Implementation:
    """The implementation of ``op`` to run now, out of those that support its arguments.

    The fastest; or the forced one, and ``"eager"`` where it is not among them.
    """
    name = next(name for name in _preference() if name in implementations)
    if not torch.compiler.is_compiling():
        _logger.debug("%s: %s", op, name)
    return implementations[name]
