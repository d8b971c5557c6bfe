"""Tell what a file is from its first bytes, never from its name."""

from __future__ import annotations

import tarfile
from pathlib import Path

from gcnet.checkpoints.errors import CheckpointError

_START = 512
_MAX_SAFETENSORS_HEADER = 100_000_000

#: First bytes of files that are no checkpoints, and what to say of them.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip-compressed: unpack it first (gunzip)"),
    (b"\xfd7zXZ\0", "xz-compressed: unpack it first (unxz)"),
    (b"BZh", "bzip2-compressed: unpack it first (bunzip2)"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed: unpack it first (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, of Keras or MATLAB: save the weights as safetensors there"),
    (b"\x93NUMPY", "a NumPy array: save the weights as safetensors"),
    (b"GGUF", "a GGUF file: there is no GCNet in these"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for: run git lfs pull"),
)


def detect(path: Path) -> str:
    """``"safetensors"``, ``"torch zip"``, ``"torch stream"`` or ``"torch tar"``.

    Raises:
        CheckpointError: if the file is none of these; says what it seems to be.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_START)
    if not start:
        raise CheckpointError("the file is empty")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body")):
        raise CheckpointError("a web page, not a checkpoint: the download link led to an error or log-in page")
    for mark, what in _OTHERS:
        if start.startswith(mark):
            raise CheckpointError(f"{what}")
    header = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and header <= min(size - 8, _MAX_SAFETENSORS_HEADER):
        return "safetensors"
    if start[8:10] in (b'{"', b"{}"):
        raise CheckpointError("a safetensors file with a header larger than the file: it is truncated or corrupt")
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "torch zip"
    if start[257:262] == b"ustar" or (b"\0" in start[:100] and _is_tar(path)):
        return "torch tar"
    if start[0] == 0x80 and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "torch stream"
    if start[0] == 0x08 and any(word in start for word in (b"pytorch", b"onnx", b"torch")):
        raise CheckpointError("an ONNX model: weights are read from the checkpoint it was exported from")
    raise CheckpointError(
        f"no checkpoint: it begins with {start[:16]!r}, where safetensors and torch files begin otherwise"
    )


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:"):
            return True
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError):
        return False
