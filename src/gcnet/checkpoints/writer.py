"""Write checkpoints: a file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.safetensors_file import write_safetensors
from gcnet.checkpoints.tensor_record import check_dense
from gcnet.files import whole_file

SUFFIXES = (".safetensors", ".pth", ".pt")


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write tensors and texts to a safetensors file or a file of ``torch.save``, by the suffix of ``path``.

    Args:
        path: ends in ``.safetensors``, ``.pth`` or ``.pt``; the folder exists.
        tensors: dense tensors by key; written contiguous and from the CPU. Tied tensors are written once each.
        metadata: texts; in a ``.pth`` beside ``"state_dict"``.
        overwrite: replace an existing file, which stays as it is until the new one is whole.

    Raises:
        CheckpointError: if the suffix is another, the file exists, or the folder is missing or cannot be written.

    Example:
        >>> import torch
        >>> from gcnet.checkpoints.reader import read
        >>> path = write(getfixture("tmp_path") / "fc.pth", {"fc.weight": torch.ones(2, 3)}, {"epoch": "12"})
        >>> contents = read(path)
        >>> contents.tensors["fc.weight"].shape, contents.metadata
        (torch.Size([2, 3]), {'epoch': '12'})
    """
    target = check_target(path, overwrite=overwrite)
    for key, value in tensors.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{key}: a {type(value).__name__}; tensors under strings are written")
        check_dense(key, value)
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise CheckpointError(f"metadata[{key!r}] is a {type(text).__name__}; write texts, such as json.dumps(...)")
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    texts = dict(metadata or {})
    try:
        with whole_file(target) as partial:
            if target.suffix == ".safetensors":
                write_safetensors(partial, plain, texts)
            else:
                _write_torch(partial, plain, texts)
    except CheckpointError as error:
        raise CheckpointError(f"{target}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written ({error.strerror})") from None
    return target


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """``path``, where :func:`write` can write a file.

    Raises:
        CheckpointError: as :func:`write` does for its path.

    Example:
        >>> check_target(getfixture("tmp_path") / "model.onnx")
        Traceback (most recent call last):
        ...
        gcnet.checkpoints.errors.CheckpointError: ...model.onnx: the name ends in '.onnx'; write one of ...
    """
    target = Path(path)
    if target.is_dir():
        raise CheckpointError(f"{target}: a folder")
    if target.suffix not in SUFFIXES:
        raise CheckpointError(f"{target}: the name ends in {target.suffix!r}; write one of {', '.join(SUFFIXES)}")
    if not target.parent.is_dir():
        raise CheckpointError(f"{target}: the folder {target.parent} does not exist")
    if target.exists() and not overwrite:
        raise CheckpointError(f"{target}: exists; give another name or overwrite=True (--overwrite)")
    return target


def _write_torch(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    if "state_dict" in metadata:
        raise CheckpointError("metadata['state_dict']: in a .pth this name is the tensors'")
    try:
        torch.save({"state_dict": tensors, **metadata}, path)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"cannot be written; is the disk full? ({error})") from None
