"""Images with a mask each."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gcnet.training.classification.images import SUFFIXES
from gcnet.training.data_check.reading import (
    File,
    files_below,
    read_all,
    read_image,
    report_shared,
    report_unreadable,
    report_unused,
)
from gcnet.training.data_check.report import Report

IGNORED = 255


class Layout(NamedTuple):
    """Where a data set keeps its files; ``{}`` stands for the split.

    Attributes:
        images: folder of images.
        masks: folder of masks.
        splits: their names.
        image_end: what names of images end in, in place of any suffix of an image.
        mask_end: what names of masks end in.
        first: label of the first class; what is less is ignored.
    """

    images: str
    masks: str
    splits: tuple[str, ...] = ("train", "val", "test")
    image_end: str = ""
    mask_end: str = ".png"
    first: int = 0


LAYOUTS = (
    Layout("{}/images", "{}/masks"),
    Layout("images/{}", "annotations/{}", ("training", "validation"), first=1),  # ADE20K
    Layout("leftImg8bit/{}", "gtFine/{}", ("train", "val"), "_leftImg8bit.png", "_gtFine_labelIds.png"),  # Cityscapes
    Layout("images", "masks", ("",)),
)


def find_layout(root: Path) -> Layout | None:
    """The layout of a folder; None if it is another."""
    for layout in LAYOUTS:
        if (root / layout.images.format(layout.splits[0])).is_dir() and (
            root / layout.masks.format(layout.splits[0])
        ).is_dir():
            return layout
    return None


class Mask(NamedTuple):
    """A mask file and the labels in it."""

    file: File
    labels: frozenset[int] = frozenset()


def read_mask(path: Path) -> Mask:
    """Decode a mask, and collect its labels."""
    file = read_image(path)
    if file.problem:
        return Mask(file)
    with Image.open(path) as picture:
        if picture.mode not in ("1", "L", "P") and not picture.mode.startswith("I"):
            return Mask(file._replace(problem=f"a mask has a label per pixel, not colours of mode {picture.mode}"))
        return Mask(file._replace(size=picture.size), frozenset(np.unique(np.asarray(picture)).tolist()))


def check_pairs(report: Report, layout: Layout, names: tuple[str, ...] | None, workers: int) -> None:
    """Check every pair: both there, readable, of one size, with labels that there are.

    Args:
        report: to add to.
        layout: from :func:`find_layout`.
        names: of the classes; None if they are not known.
        workers: files read at the same time.
    """
    splits: dict[str, list[File]] = {}
    used: list[Path] = []
    labels: set[int] = set()
    for split in layout.splits:
        images_in, masks_in = (report.root / folder.format(split) for folder in (layout.images, layout.masks))
        if not images_in.is_dir():
            if split in ("val", "validation"):
                report.error("missing split", images_in, "there is no such folder")
            continue
        images = _by_key(images_in, layout.image_end)
        masks = _by_key(masks_in, layout.mask_end)
        for key in sorted(images.keys() - masks.keys()):
            report.error("image without mask", images[key], f"there is no {masks_in.name}/{key}{layout.mask_end}")
        for key in sorted(masks.keys() - images.keys()):
            report.error("mask without image", masks[key], "there is no image of this name")
        if not images:
            report.error("empty split", images_in, "holds no image")
        image_files = dict(zip(images, read_all(read_image, list(images.values()), workers, "image"), strict=True))
        mask_files = dict(zip(masks, read_all(read_mask, list(masks.values()), workers, "mask"), strict=True))
        report_unreadable(report, image_files.values(), "image")
        report_unreadable(report, (mask.file for mask in mask_files.values()), "mask")
        for key, mask in mask_files.items():
            image = image_files.get(key)
            if image and image.size and mask.file.size and image.size != mask.file.size:
                report.error("size of mask and image", mask.file.path, f"{mask.file.size} differs from {image.size}")
            _check_labels(report, mask, layout, names)
            labels |= mask.labels
        splits[split] = list(image_files.values())
        used += [*images.values(), *masks.values()]
        report.counts[f"{split} images".strip()] = len(images)
    for value, name in enumerate(names or (), layout.first):
        if value not in labels:
            report.warning("unused class", name, f"no mask has the label {value}")
    if names is None:
        found = ", ".join(map(str, sorted(labels)[:30]))
        report.warning("unknown classes", report.root, f"no classes.txt names them; the masks have the labels {found}")
    report_shared(report, {split: [(file.path, file.digest) for file in files] for split, files in splits.items()})
    report_unused(report, used)
    report.counts["labels"] = len(labels - {IGNORED})


def _check_labels(report: Report, mask: Mask, layout: Layout, names: tuple[str, ...] | None) -> None:
    if names is None or layout.mask_end != ".png":
        return
    last = layout.first + len(names) - 1
    odd = sorted(label for label in mask.labels if label > last and label != IGNORED)
    if odd:
        report.error("label out of range", mask.file.path, f"has the label {odd[0]}, but they end at {last}")


def _by_key(folder: Path, end: str) -> dict[str, Path]:
    """Files by their path below a folder, without the end of the name."""
    if not folder.is_dir():
        return {}
    found = files_below(folder, (Path(f"name{end}").suffix,) if end else SUFFIXES)
    names = {path: path.relative_to(folder).as_posix() for path in found}
    return {name[: -len(end or path.suffix)]: path for path, name in names.items() if name.endswith(end)}
