"""Which pictures of a folder to look at, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gcnet.study.subject import Subject, View
from gcnet.training.data_files import files_below
from gcnet.training.images import SUFFIXES as IMAGES
from gcnet.training.loading import BrokenSample
from gcnet.training.video.video_folder import SUFFIXES as VIDEOS

VALIDATION = ("val", "validation", "val2017", "test")


def find_pictures(subject: Subject, data: Path, most: int | None = None) -> list[Path]:
    """Files below a folder that a subject can see; of a data set with a validation part, those of it.

    Args:
        subject: that sees images or videos.
        data: a folder, or one file.
        most: keep so many, evenly spaced.

    Raises:
        FileNotFoundError: none there.
    """
    if data.is_file():
        return [data]
    if not data.exists():
        raise FileNotFoundError(f"data={data}: no such file or folder")
    suffixes = IMAGES if subject.kind == "image" else VIDEOS
    for name in (*VALIDATION, "."):
        files = files_below(data / name, suffixes) if (data / name).is_dir() else []
        if files:
            break
    else:
        raise FileNotFoundError(f"data={data}: no {subject.kind}s there ({', '.join(suffixes)})")
    if most is None or len(files) <= most:
        return files
    return [files[index] for index in np.linspace(0, len(files) - 1, most).round().astype(int)]


def views(subject: Subject, files: Sequence[Path], batch_size: int, broken: list[str]) -> Iterator[list[View]]:
    """Batches of views of one shape, in the order of the files as far as shapes allow.

    Args:
        subject: that sees them.
        files: from :func:`find_pictures`.
        batch_size: most views in a batch.
        broken: takes the messages about files that cannot be read; they are left out.
    """
    waiting: dict[tuple[int, ...], list[View]] = {}
    for path in files:
        try:
            view = subject.see(path)
        except BrokenSample as error:
            broken.append(str(error))
            continue
        batch = waiting.setdefault(tuple(view.input.shape), [])
        batch.append(view)
        if len(batch) == batch_size:
            yield waiting.pop(tuple(view.input.shape))
    yield from waiting.values()
