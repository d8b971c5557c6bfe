"""Safetensors files, through their own library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def read_safetensors(path: Path) -> dict[str, Any]:
    """``{"state_dict": tensors by key, **metadata}``."""
    library = safetensors_library()
    try:
        with library.safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the file has no __iter__
            metadata = file.metadata() or {}
    except (library.SafetensorError, ValueError, RuntimeError, AttributeError, KeyError, OSError) as error:
        raise CheckpointError(f"the safetensors file is truncated or corrupt ({error})") from None
    return {**{key: value for key, value in metadata.items() if key != "state_dict"}, "state_dict": tensors}
