"""Safetensors files, through their own library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from gcnet.checkpoints.errors import CheckpointError


def safetensors_library() -> Any:
    """The module ``safetensors``.

    Raises:
        CheckpointError: if it is not installed.
    """
    try:
        import safetensors.torch
    except ImportError:
        raise CheckpointError('safetensors is not installed: pip install "gcnet[models]"') from None
    return safetensors


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by key, and the texts of the header."""
    library = safetensors_library()
    try:
        with library.safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the file has no __iter__
            return tensors, file.metadata() or {}
    except (library.SafetensorError, ValueError, RuntimeError, AttributeError, KeyError, OSError) as error:
        raise CheckpointError(f"the safetensors file is truncated or corrupt ({error})") from None


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write contiguous tensors, none of which shares memory with another."""
    library = safetensors_library()
    try:
        library.torch.save_file(tensors, path, metadata=metadata)
    except (library.SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"cannot be written ({error})") from None
