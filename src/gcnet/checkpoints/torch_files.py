"""The files of torch.save: the zip archives of torch 1.6 and newer, and the pickle streams before them."""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.tensor_record import Storage
from gcnet.checkpoints.unpickler import StorageKind, unpickle

MAGIC = 0x1950A86A20F9469CFC6C
MAX_RECORDS = 200_000
_LONG = struct.Struct("<q")
_LOCAL = struct.Struct("<26sHH")  # a zip record's own header: ..., lengths of the name and of the extra field


def read_zip(path: Path) -> Any:
    """The object in a zip file of torch.save, its tensors as records."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path.stat().st_size)
    except CheckpointError:
        raise
    except (
        zipfile.BadZipFile,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        struct.error,
    ) as error:
        raise CheckpointError(f"the zip archive is truncated or corrupt ({error})") from None


def _read_archive(archive: zipfile.ZipFile, size: int) -> Any:
    names = archive.namelist()
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError("a zip archive, but not one of torch.save: it holds no data.pkl. Unpack it first")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in names:
        raise CheckpointError(
            "a TorchScript archive, which holds code: torch.save(torch.jit.load(path).state_dict(), 'weights.pth') "
            "where you trust it"
        )
    records = _checked_records(archive, size)
    if f"{root}byteorder" in records and archive.read(f"{root}byteorder") != b"little":
        raise CheckpointError("the tensors are big-endian: save them again on a little-endian machine")
    file = Path(str(archive.filename))
    checked: set[object] = set()

    def read(key: object, start: int, length: int) -> bytearray:
        record = records[f"{root}data/{key}"]
        with file.open("rb") as opened:
            opened.seek(record.header_offset)
            header = opened.read(_LOCAL.size)
            if len(header) < _LOCAL.size or not header.startswith(b"PK\3\4"):
                raise CheckpointError(f"storage {key} is corrupt: no record begins where the archive says")
            place = opened.tell() + sum(_LOCAL.unpack(header)[1:])
            opened.seek(place)
            if key in checked:
                opened.seek(place + start)
                return bytearray(opened.read(length))
            data = opened.read(record.file_size)
        if zlib.crc32(data) != record.CRC:
            raise CheckpointError(f"storage {key} is corrupt: its checksum is wrong. Get the file again")
        checked.add(key)
        return bytearray(memoryview(data)[start : start + length])

    def persistent(saved: Any) -> Storage:
        storage = _storage(saved, read)
        record = records.get(f"{root}data/{storage.key}")
        if record is None or record.file_size != storage.count * storage.dtype.itemsize:
            held = "no record" if record is None else f"{record.file_size} bytes"
            raise CheckpointError(f"storage {storage.key}: {storage.count} elements declared, {held} in the file")
        return storage

    return unpickle(io.BytesIO(archive.read(pickles[0])), persistent)


def _checked_records(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    records: dict[str, zipfile.ZipInfo] = {}
    entries = archive.infolist()
    if len(entries) > MAX_RECORDS:
        raise CheckpointError(f"the archive lists {len(entries)} records, more than {MAX_RECORDS}")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        name = entry.filename
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or name in records:
            raise CheckpointError(f"the archive holds a record {name!r}: a path out of it, or one name twice")
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise CheckpointError(
                f"the archive's record {name!r} is compressed or encrypted, which torch.save never does"
            )
        if entry.header_offset < end or entry.header_offset + entry.file_size > size:
            raise CheckpointError(f"the archive's record {name!r} overlaps another or ends beyond the file")
        end = entry.header_offset + entry.file_size
        records[name] = entry
    return records


def _storage(saved: Any, read: Any) -> Storage:
    """The storage that a persistent id ``("storage", class, key, location, count[, view])`` names."""
    if not (isinstance(saved, tuple) and 5 <= len(saved) <= 6 and saved[0] == "storage"):
        raise CheckpointError("the file refers to something other than a storage")
    kind, key, count = saved[1], saved[2], saved[4]
    if not isinstance(kind, StorageKind) or type(count) is not int or count < 0 or not isinstance(key, str | int):
        raise CheckpointError(f"the file's description of storage {key} is corrupt")
    return Storage(key, kind.dtype, count, 0, read)


def read_stream(path: Path) -> Any:
    """The object in a file of torch before 1.6: pickles, then the bytes of the storages; tensors as records."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        if unpickle(stream) != MAGIC:
            raise CheckpointError(
                "a plain pickle, not a file of torch.save: load it where you trust it and torch.save the tensors"
            )
        unpickle(stream)
        unpickle(stream)
        storages: dict[object, Storage] = {}
        places: dict[object, int] = {}

        def read(key: object, start: int, length: int) -> bytearray:
            with path.open("rb") as again:
                again.seek(places[key] + start)
                return bytearray(again.read(length))

        def persistent(saved: Any) -> Storage:
            storage = _storage(saved, read)
            known = storages.setdefault(storage.key, storage)
            if (known.dtype, known.count) != (storage.dtype, storage.count):
                raise CheckpointError(f"storage {storage.key} is described twice, in two ways")
            view = saved[5] if len(saved) == 6 else None
            return storage if view is None else view_of(storage, view)

        content = unpickle(stream, persistent)
        keys = unpickle(stream)
        if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
            raise CheckpointError("the file's list of storages is corrupt")
        for key in keys:
            place = stream.tell() + _LONG.size
            header = stream.read(_LONG.size)
            if key not in storages or len(header) < _LONG.size or _LONG.unpack(header)[0] != storages[key].count:
                raise CheckpointError(f"storage {key} is missing, or not of the size declared: truncated or corrupt")
            stop = place + storages[key].count * storages[key].dtype.itemsize
            if stop > len(stream):
                raise CheckpointError(f"the file ends within storage {key}: it is truncated")
            places[key] = place
            stream.seek(stop)
        missing = storages.keys() - places.keys()
        if missing:
            raise CheckpointError(f"the file ends before storage {min(map(str, missing))}: it is truncated")
        return content


def view_of(storage: Storage, view: Any) -> Storage:
    """The part of a storage that legacy metadata ``(key, offset, count)`` names."""
    if not (isinstance(view, tuple) and len(view) == 3 and all(type(value) is int for value in view[1:])):
        raise CheckpointError(f"the file's description of a view of storage {storage.key} is corrupt")
    _, offset, count = view
    if offset < 0 or count < 0 or offset + count > storage.count:
        raise CheckpointError(f"a view of storage {storage.key} lies beyond it")
    return Storage(storage.key, storage.dtype, storage.count, offset, storage.read)
