"""Read the tensors of a checkpoint, whatever wrote it, without executing anything in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gcnet.checkpoints.containers import choose
from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.formats import detect
from gcnet.checkpoints.prefixes import strip
from gcnet.checkpoints.stand_ins import OTHER_TENSORS, StandIn
from gcnet.checkpoints.tensor_record import TensorRecord, check_dense

MAX_BYTES = 4 * 2**30
MAX_TENSORS = 100_000
MAX_KEY = 1024


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        tensors: by key, without the prefixes of wrappers; dense, contiguous, on the CPU.
        metadata: everything else but optimizer states, as plain values.
        format: ``"safetensors"``, ``"torch zip"``, ``"torch stream"``, ``"torch tar"`` or ``"state dict"``.
        notes: what was decided on the way: container, prefixes, what was left out.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any]
    format: str
    notes: tuple[str, ...]


def read(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    container: str | None = None,
    max_bytes: int = MAX_BYTES,
    allow_nan: bool = False,
    sha256: str | None = None,
) -> Contents:
    """Read a checkpoint: safetensors, or any file of ``torch.save`` since 2016, told apart by content.

    Of pickles, only tensors, plain containers and the inert classes of
    :data:`gcnet.checkpoints.stand_ins.ALLOWED` are read; nothing that a file names is imported or run.

    Args:
        source: path, http(s) URL, or mapping such as a state dict, nested or not.
        container: path of the weights in a file that holds several, such as ``"ema"``. Default: plain weights
            before averages, well-known names before others; the notes say what was chosen.
        max_bytes: largest file and largest sum of tensors, in bytes. Default: 4 GiB.
        allow_nan: accept weights that are NaN or infinite.
        sha256: hexadecimal hash the file must have, or the beginning of it.

    Raises:
        CheckpointError: a ValueError that says what is wrong with the file or the key, and what to do.

    Example:
        >>> import torch
        >>> weights = {"module.fc.weight": torch.ones(2, 3)}
        >>> wrapped = {"state_dict": weights, "epoch": 12, "optimizer": {"param_groups": []}}
        >>> contents = read(wrapped)
        >>> list(contents.tensors), contents.metadata
        (['fc.weight'], {'epoch': 12})
        >>> print(*contents.notes, sep="; ")
        weights read from state_dict; optimizer state dropped: optimizer; prefix module. taken off all keys
    """
    if isinstance(source, Mapping):
        return _contents(source, "state dict", container, max_bytes, allow_nan, {})
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        from gcnet.checkpoints.download import download

        source = download(source, max_bytes=max_bytes, sha256=sha256)
    elif isinstance(source, str) and "://" in source:
        raise CheckpointError(f"{source}: only http:// and https:// are read; download the file and give its path")
    elif not isinstance(source, str | os.PathLike):
        raise CheckpointError(
            f"source is a {type(source).__name__}: give a path, a URL or a mapping, such as model.state_dict()"
        )
    path = Path(source).expanduser()
    try:
        _check_file(path, max_bytes)
        if sha256 is not None:
            from gcnet.checkpoints.download import check_sha256

            check_sha256(path, sha256)
        kind = detect(path)
        content, metadata = _content(path, kind)
        return _contents(content, kind, container, max_bytes, allow_nan, metadata)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise CheckpointError(f"{path}: does not fit into memory") from None


def _check_file(path: Path, max_bytes: int) -> None:
    if path.is_dir():
        raise CheckpointError("a folder: give the file in it")
    if not path.exists():
        raise CheckpointError("no such file")
    if not path.is_file():
        raise CheckpointError("not a regular file")
    size = path.stat().st_size
    if size > max_bytes:
        raise CheckpointError(f"{size} bytes, more than max_bytes={max_bytes}")


def _content(path: Path, kind: str) -> tuple[Any, dict[str, str]]:
    """What the file holds, and the texts that safetensors keep apart."""
    if kind == "safetensors":
        from gcnet.checkpoints.safetensors_file import read_safetensors

        return read_safetensors(path)
    if kind == "torch zip":
        from gcnet.checkpoints.torch_files import read_zip

        return read_zip(path), {}
    if kind == "torch tar":
        from gcnet.checkpoints.torch_tar import read_tar

        return read_tar(path), {}
    from gcnet.checkpoints.torch_files import read_stream

    return read_stream(path), {}


def _contents(
    content: Any, kind: str, container: str | None, max_bytes: int, allow_nan: bool, texts: Mapping[str, str]
) -> Contents:
    chosen = choose(content, container)
    metadata = {**texts, **chosen.metadata}
    if len(chosen.weights) > MAX_TENSORS:
        raise CheckpointError(f"{len(chosen.weights)} entries, more than {MAX_TENSORS}")
    named = {_key(key): value for key, value in chosen.weights.items()}
    weights = {key: value for key, value in named.items() if _is_weight(key, value)}
    notes = list(chosen.notes)
    if weights.keys() != named.keys():
        notes.append(f"not tensors, left out: {', '.join(sorted(named.keys() - weights.keys())[:12])}")
    stripped, said = (weights, ()) if "gcnet" in metadata or "gcnet" in _nested(metadata) else strip(weights)
    total = 0
    tensors = {}
    for key, value in stripped.items():
        total += value.nbytes if isinstance(value, TensorRecord) else value.numel() * value.element_size()
        if total > max_bytes:
            raise CheckpointError(f"the tensors take more than max_bytes={max_bytes}")
        tensors[key] = _dense(key, value, allow_nan)
    return Contents(tensors, metadata, kind, (*notes, *said))


def _nested(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a file of ours that ends in .pth keeps its texts; its keys are those of the model itself."""
    meta = metadata.get("meta")
    return meta if isinstance(meta, Mapping) else {}


def _key(key: Any) -> str:
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
        raise CheckpointError(f"{str(key)[:80]!r}: keys of tensors are strings of 1 to {MAX_KEY} characters")
    return key


def _is_weight(key: str, value: Any) -> bool:
    if isinstance(value, StandIn):
        what = OTHER_TENSORS.get(value.name)
        kind = f"a {what} tensor" if what else f"a {value.name}"
        raise CheckpointError(f"{key}: {kind}, where a dense tensor is expected")
    return isinstance(value, Tensor | TensorRecord)


def _dense(key: str, value: Tensor | TensorRecord, allow_nan: bool) -> Tensor:
    if isinstance(value, TensorRecord):
        tensor = value.load(key)
    else:
        check_dense(key, value)
        tensor = value.detach().cpu().contiguous()
    if not allow_nan and (tensor.is_floating_point() or tensor.is_complex()):
        finite = torch.isfinite(tensor.float() if tensor.itemsize == 1 else tensor)
        if not bool(finite.all()):
            raise CheckpointError(
                f"{key}: {int((~finite).sum())} of {tensor.numel()} values are NaN or infinite; "
                "allow_nan=True (--allow-nan) reads them anyway"
            )
    return tensor
