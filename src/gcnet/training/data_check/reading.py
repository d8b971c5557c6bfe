"""Files read whole, several at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import av
from PIL import Image, ImageOps
from tqdm import tqdm  # type: ignore[import-untyped]

from gcnet.training.data_check.report import Report
from gcnet.training.images import UNREADABLE
from gcnet.training.loading import BrokenSample
from gcnet.training.video.decoding import scan

OWN = ("meta.json", "classes.txt", "sizes.json", "train.txt", "train.csv", "val.txt", "val.csv")  # read by the loaders

Item = TypeVar("Item")
Result = TypeVar("Result")


class File(NamedTuple):
    """What is in a file.

    Attributes:
        path: of the file.
        digest: of its bytes; empty if they cannot be read.
        size: width and height of an upright image.
        problem: why it cannot be decoded; None if it can.
    """

    path: Path
    digest: str = ""
    size: tuple[int, int] | None = None
    problem: str | None = None


def read_all(read: Callable[[Item], Result], items: Sequence[Item], workers: int, unit: str) -> list[Result]:
    """``read`` of every item, in order, with a progress bar if it takes more than a second."""
    with ThreadPoolExecutor(workers) as pool:
        return list(tqdm(pool.map(read, items), desc="Reading", total=len(items), unit=unit, delay=1))


def read_image(path: Path) -> File:
    """Decode an image to its last pixel."""
    try:
        digest = _digest(path)
        with Image.open(path) as picture:
            ImageOps.exif_transpose(picture, in_place=True)
            picture.load()
            return File(path, digest, picture.size)
    except UNREADABLE as error:
        return File(path, problem=_reason(path, error))


def read_video(path: Path) -> File:
    """Decode a video to its last frame."""
    try:
        digest = _digest(path)
        video = scan(path)
        if video.missing:
            return File(path, digest, problem=f"{video.missing} frames are missing after the first {len(video)}")
        with av.open(str(path)) as container:
            decoded = sum(1 for _ in container.decode(video=0))
        broken = f"only {decoded} of {len(video)} frames can be decoded" if decoded < len(video) else None
        return File(path, digest, problem=broken)
    except (BrokenSample, av.FFmpegError, OSError, ValueError) as error:
        return File(path, problem=_reason(path, error).removeprefix(f"{path}: "))


def report_unreadable(report: Report, files: Iterable[File], kind: str) -> None:
    """An error for every file that cannot be decoded."""
    for file in files:
        if file.problem:
            what = "unreadable" if file.path.is_file() else "missing"
            report.error(f"{what} {kind}", file.path, file.problem)


def report_shared(report: Report, splits: Mapping[str, Iterable[tuple[Path | str, str]]]) -> None:
    """A warning for every file (place, digest) whose bytes another split has as well."""
    first: dict[str, tuple[str, Path | str]] = {}
    for split, files in splits.items():
        for place, digest in files:
            seen = first.setdefault(digest, (split, place)) if digest else (split, place)
            if seen[0] != split:
                report.warning("same file in two splits", place, f"has the bytes of {report.short(seen[1])}")


def report_unused(report: Report, used: Iterable[Path]) -> None:
    """A warning for every file in the folder that is not used, hidden ones aside."""
    known = {*used, *(report.root / name for name in OWN)}
    for path in sorted(report.root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(report.root).parts)
        if path.is_file() and not hidden and path not in known:
            report.warning("unused file", path, "nothing refers to it")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(path: Path, error: Any) -> str:
    if not path.is_file():
        return "there is no such file"
    return "it is empty" if path.stat().st_size == 0 else str(getattr(error, "strerror", None) or error)
