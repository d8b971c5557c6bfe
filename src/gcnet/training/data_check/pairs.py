"""Images with a mask each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from gcnet.training.data_check.reading import (
    File,
    read_all,
    read_image,
    report_shared,
    report_unreadable,
    report_unused,
)
from gcnet.training.data_check.report import Report
from gcnet.training.segmentation.labels import CITYSCAPES, label_table
from gcnet.training.segmentation.mask_folder import LAYOUTS, Layout, class_names, files_by_key
from gcnet.training.segmentation.reading import MASK_MODES

IGNORED = 255
PAIRS = {**LAYOUTS, "no splits": Layout("images", "masks", ("", ""))}


def find_layout(root: Path) -> str | None:
    """The name in ``PAIRS`` of the layout of a folder; None if it is another."""
    for name, layout in PAIRS.items():
        if all((root / folder.format(layout.splits[0])).is_dir() for folder in (layout.images, layout.masks)):
            return name
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
        if picture.mode not in MASK_MODES:
            return Mask(file._replace(problem=f"a mask has a label per pixel, not colours of mode {picture.mode}"))
        return Mask(file._replace(size=picture.size), frozenset(np.unique(np.asarray(picture)).tolist()))


def check_pairs(report: Report, layout_name: str, workers: int) -> None:
    """Check every pair: both there, readable, of one size, with labels that there are.

    Args:
        report: to add to.
        layout_name: from :func:`find_layout`.
        workers: files read at the same time.
    """
    layout = PAIRS[layout_name]
    names, table = _classes(report, layout_name)
    splits: dict[str, list[File]] = {}
    used: list[Path] = []
    labels: set[int] = set()
    for split in dict.fromkeys(layout.splits):
        images_in, masks_in = (report.root / folder.format(split) for folder in (layout.images, layout.masks))
        if not images_in.is_dir():
            report.error("missing split", images_in, "there is no such folder")
            continue
        images = _one_per_key(report, images_in, layout.image_end)
        masks = _one_per_key(report, masks_in, layout.mask_end)
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
            odd = sorted(mask.labels - table.keys()) if names else ()
            if odd:
                report.error("label out of range", mask.file.path, f"has the label {odd[0]}, of no class")
            labels |= mask.labels
        splits[split] = list(image_files.values())
        used += [*images.values(), *masks.values()]
        report.counts[f"{split} images".strip()] = len(images)
    seen = {table.get(label) for label in labels}
    for index, name in enumerate(names):
        if index not in seen:
            report.warning("unused class", name, "no mask has its label")
    if not names:
        found = ", ".join(map(str, sorted(labels)[:30]))
        report.warning("unknown classes", report.root, f"no classes.txt names them; the masks have the labels {found}")
    report_shared(report, {split: [(file.path, file.digest) for file in files] for split, files in splits.items()})
    report_unused(report, used)
    report.counts["labels"] = len(labels - {IGNORED})


def _classes(report: Report, layout_name: str) -> tuple[tuple[str, ...], Mapping[int, int]]:
    """Names of the classes, empty if they are not known, and the class of each label."""
    if layout_name == "Cityscapes":
        return tuple(CITYSCAPES.values()), label_table("cityscapes_ids", len(CITYSCAPES), IGNORED)
    try:
        names = class_names(report.root) or ()
    except ValueError as error:
        report.error("class names", report.root, str(error).removeprefix(f"{report.root}/"))
        names = ()
    return names, label_table("zero_ignored" if layout_name == "ADE20K" else "indices", len(names), IGNORED)


def _one_per_key(report: Report, folder: Path, end: str) -> dict[str, Path]:
    found = files_by_key(folder, end) if folder.is_dir() else {}
    for first, *others in found.values():
        for other in others:
            report.error("same name twice", other, f"would share a mask with {report.short(first)}")
    return {key: paths[0] for key, paths in found.items()}
