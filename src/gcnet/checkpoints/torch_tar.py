"""The tar files of torch 0.1 (2016): members ``storages``, ``tensors`` and ``pickle``."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path
from typing import Any

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.tensor_record import Storage, TensorRecord
from gcnet.checkpoints.torch_files import view_of
from gcnet.checkpoints.unpickler import StorageKind, unpickle

_LONG = struct.Struct("<q")
_MAX_OBJECTS = 200_000


def read_tar(path: Path) -> Any:
    """The object in a tar file of torch.save, its tensors as records; nothing is extracted to disk."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = {name: _member(archive, name) for name in ("storages", "tensors", "pickle")}
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"the tar archive is truncated or corrupt ({error})") from None
    try:
        storages = _storages(members["storages"])
        objects: dict[int, Any] = {**storages, **_tensors(members["tensors"], storages)}
    except (struct.error, TypeError, KeyError) as error:
        raise CheckpointError(f"the tensors in the tar archive are truncated or corrupt ({error})") from None

    def persistent(saved: Any) -> Any:
        if type(saved) is not int or saved not in objects:
            raise CheckpointError("the file refers to something other than its tensors: it may hold a whole model")
        return objects[saved]

    return unpickle(io.BytesIO(members["pickle"]), persistent)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = next((member for member in archive if member.name.removeprefix("./") == name), None)
    if found is None or not found.isreg():
        raise CheckpointError("a tar archive, but not one of torch.save. Unpack it first")
    if found.sparse is not None or found.size > Path(str(archive.name)).stat().st_size:
        raise CheckpointError(f"the archive's member {name!r} is larger than the file: corrupt or hostile")
    opened = archive.extractfile(found)
    data = opened.read() if opened else b""
    if len(data) != found.size:
        raise CheckpointError(f"the file ends within the archive's member {name!r}: it is truncated")
    return data


def _count(stream: io.BytesIO) -> int:
    count = unpickle(stream)
    if type(count) is not int or not 0 <= count <= _MAX_OBJECTS:
        raise CheckpointError(f"the tar archive declares {count} tensors or storages: corrupt")
    return count


def _storages(data: bytes) -> dict[int, Storage]:
    stream, found = io.BytesIO(data), {}
    places: dict[object, int] = {}

    def read(key: object, start: int, length: int) -> bytearray:
        return bytearray(memoryview(data)[places[key] + start : places[key] + start + length])

    for _ in range(_count(stream)):
        key, _, kind = _triple(unpickle(stream))
        (count,) = _LONG.unpack(stream.read(_LONG.size))
        if not isinstance(kind, StorageKind) or count < 0:
            raise CheckpointError(f"storage {key} in the tar archive is corrupt")
        places[key] = stream.tell()
        found[key] = Storage(key, kind.dtype, count, 0, read)
        if stream.seek(places[key] + count * kind.dtype.itemsize) > len(data):
            raise CheckpointError(f"the file ends within storage {key}: it is truncated")
    for view in unpickle(stream):
        if not (isinstance(view, tuple) and len(view) == 4):
            raise CheckpointError("the tar archive's views of storages are corrupt")
        target, root, offset, count = view
        found[target] = view_of(found[root], (target, offset, count))
    return found


def _tensors(data: bytes, storages: dict[int, Storage]) -> dict[int, TensorRecord]:
    stream, found = io.BytesIO(data), {}
    for _ in range(_count(stream)):
        key, storage, _ = _triple(unpickle(stream))
        (dims, _) = struct.unpack("<ii", stream.read(8))
        if not 0 <= dims <= 64:
            raise CheckpointError(f"tensor {key} in the tar archive has {dims} dimensions: corrupt")
        numbers = struct.unpack(f"<{2 * dims + 1}q", stream.read(8 * (2 * dims + 1)))
        found[key] = TensorRecord(storages[storage], numbers[-1], numbers[:dims], numbers[dims:-1])
    return found


def _triple(value: Any) -> tuple[Any, Any, Any]:
    if not (isinstance(value, tuple) and len(value) == 3 and type(value[0]) is int):
        raise CheckpointError("the tar archive's list of tensors is corrupt")
    return value
