"""Which pictures of a folder to look at, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gcnet.study.subject import Subject, View
from gcnet.training.data_files import files_below
from gcnet.training.experiment import open_experiment
from gcnet.training.images import SUFFIXES as IMAGES
from gcnet.training.loading import BrokenSample
from gcnet.training.run_folder import load_config
from gcnet.training.segmentation.mask_folder import LAYOUTS
from gcnet.training.video.video_folder import SUFFIXES as VIDEOS

VALIDATION = ("val", "validation", "valid", "val2017", "test")
#: Folders of images and of their masks, side by side.
MASKS = [(Path(layout.images.format("")).name, Path(layout.masks.format("")).name) for layout in LAYOUTS.values()]


def find_pictures(subject: Subject, data: Path, most: int | None = None) -> list[Path]:
    """Files below a folder that a subject can see; of a data set with a validation part, those of it.

    Args:
        subject: that sees images or videos.
        data: a folder, or one file. Of the data of the subject's run, what the run validates on is taken; elsewhere
            what is in ``val``, ``valid``, ``validation``, ``val2017`` or ``test``, or else everything. Masks beside
            images are none.
        most: keep so many, evenly spaced.

    Raises:
        FileNotFoundError: none there.
    """
    if data.is_file():
        return [data]
    if not data.exists():
        raise FileNotFoundError(f"data={data}: no such file or folder")
    files = _validated_on(subject, data) or _below(data, IMAGES if subject.kind == "image" else VIDEOS)
    if not files:
        suffixes = ", ".join(IMAGES if subject.kind == "image" else VIDEOS)
        raise FileNotFoundError(f"data={data}: no {subject.kind} files there ({suffixes}); name a folder that has some")
    return files if most is None else thinned(files, most)


def thinned(files: Sequence[Path], most: int) -> list[Path]:
    """At most so many of the files, evenly spaced.

    Example:
        >>> [path.name for path in thinned([Path("a"), Path("b"), Path("c")], 2)]
        ['a', 'c']
    """
    return [files[index] for index in np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int)]


def _validated_on(subject: Subject, data: Path) -> list[Path]:
    """What the subject's run validates on, if this is its data and still laid out as the run needs it."""
    if subject.run is None or subject.data is None or data.resolve() != subject.data.resolve():
        return []
    try:
        return open_experiment(replace(load_config(subject.run), check_files=False)).val_files()
    except (ValueError, FileNotFoundError):
        return []


def _below(data: Path, suffixes: Sequence[str]) -> list[Path]:
    parts = [layout.images.format(layout.splits[1]) for layout in LAYOUTS.values()]
    for name in (*parts, *VALIDATION, "."):
        files = [path for path in files_below(data / name, suffixes) if not _is_mask(path, data)]
        if files:
            return files
    return []


def _is_mask(path: Path, data: Path) -> bool:
    folders = path.relative_to(data).parents
    return any(
        folder.name == masks and (data / folder.parent / images).is_dir()
        for folder in folders
        for images, masks in MASKS
    )


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
