"""Where the annotations and the images of a data set in COCO's format are."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from pathlib import Path

from gcnet.training.data_files import check_all
from gcnet.training.detection.coco import CocoAnnotations, read_coco
from gcnet.training.detection.config import DetectionConfig
from gcnet.training.detection.images import shape_problem, size_problem


def read_folder(config: DetectionConfig) -> tuple[CocoAnnotations, CocoAnnotations]:
    """Annotations for training and for validation, whose images exist.

    Raises:
        FileNotFoundError: annotations, a folder or an image that is not there.
        ValueError: annotations that cannot be used, unless those are skipped; an image too thin to scale; categories
            that differ between training and validation; nothing to train on or to score.
    """
    if not config.data.is_dir():
        raise FileNotFoundError(f"data={config.data}: no such folder")
    train = _read(config, "train", config.train_annotations, config.train_images)
    val = _read(config, "val", config.val_annotations, config.val_images)
    if train.categories != val.categories:
        odd = set(train.categories.items()) ^ set(val.categories.items())
        number, name = min(odd)
        raise ValueError(
            f"{val.path}: its categories differ from those of {train.path}, such as {name!r} with id {number}"
        )
    for split in (train, val):
        if split.crowd.all():
            raise ValueError(f"{split.path}: has no object that is not a crowd")
    return train, val


def _read(config: DetectionConfig, split: str, annotations: Path | None, images: Path | None) -> CocoAnnotations:
    path = config.data / annotations if annotations else _find_annotations(config.data, split)
    coco = read_coco(path, config.data / images if images else config.data, masks=config.masks)
    if not images and coco.images:
        coco = dataclasses.replace(coco, folder=_find_images(config.data, split, path, coco.images[0].name))
    if coco.invalid and config.on_broken == "error":
        raise ValueError(
            f"{len(coco.invalid)} annotations cannot be used, such as {coco.invalid[0]}. Repair them, or leave them "
            "out with on_broken='skip'"
        )
    _check_images_exist(coco)
    for image in coco.images:
        if problem := shape_problem(coco.folder / image.name, (image.width, image.height), config.max_size):
            raise ValueError(problem)
    if config.check_files and config.on_broken == "error":
        check_all(lambda image: size_problem(coco.folder / image.name, image), coco.images)
    return coco


def _find_annotations(root: Path, split: str) -> Path:
    """The one file of annotations of a split, under the names that COCO and labelling tools give it."""
    patterns = (
        f"annotations/instances_{split}*.json",
        f"annotations/{split}*.json",
        f"{split}*/_annotations.coco.json",
    )
    for pattern in patterns:
        found = sorted(root.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise ValueError(
                f"data={root}: there are several files of {split} annotations ({names}); choose one with "
                f"{split}_annotations"
            )
    raise FileNotFoundError(f"data={root}: found no {' nor '.join(patterns)}; name the file with {split}_annotations")


def _find_images(root: Path, split: str, annotations: Path, first: str) -> Path:
    """The folder that holds the image ``first``."""
    name = annotations.stem.removeprefix("instances_")
    candidates = [
        *(root / name, root / "images" / name, root / split, root / "images" / split, root / split / "images"),
        *(annotations.parent, root / "images", root),
    ]
    for folder in candidates:
        if (folder / first).is_file():
            return folder
    looked = ", ".join(str(folder.relative_to(root)) for folder in candidates[:-1])
    raise FileNotFoundError(
        f"data={root}: {first}, the first image of {annotations.name}, is in none of {looked}; name its folder with "
        f"{split}_images"
    )


def _check_images_exist(coco: CocoAnnotations) -> None:
    """Raise FileNotFoundError unless all do. Folders are listed once, which network drives answer fast."""
    by_folder: dict[Path, list[str]] = defaultdict(list)
    for image in coco.images:
        path = coco.folder / image.name
        by_folder[path.parent].append(path.name)
    missing: list[Path] = []
    for folder, names in by_folder.items():
        there = set(os.listdir(folder)) if folder.is_dir() else set()
        missing += [folder / name for name in names if name not in there]
    if missing:
        count = f"{len(missing)} of its {len(coco.images)} images"
        raise FileNotFoundError(f"{coco.path}: {count} are missing, such as {missing[0]}")
