"""Scenes in COCO's format: find every digit, and tell whether it is darker or brighter than its scene's average."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval.core import mask as rle
from numpy.typing import NDArray

from gcnet.training.scenes.compose import CLASS_NAMES, SceneSettings, compose, part_sizes
from gcnet.training.scenes.drawing import save_pictures


@dataclass(frozen=True, kw_only=True)
class DetectionScenes(SceneSettings):
    """Scenes for detection.

    The other fields are those of :class:`SceneSettings`.

    Attributes:
        empty: share of scenes without digits.
    """

    size: int = 128
    digits: int = 12
    empty: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.empty < 1:
            raise ValueError(f"empty={self.empty} must be at least 0 and less than 1")


def write_detection(root: Path, settings: DetectionScenes) -> Iterator[Path]:
    """Write ``<split>/00000.png`` and ``annotations/instances_<split>.json``; yield each picture when it is there.

    Boxes and masks hold the pixels of a digit that can be seen, not those that another digit covers.
    """
    (root / "annotations").mkdir()
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES) if number]
    for split in ("train", "val"):
        (root / split).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for part in range(len(part_sizes(settings, split))):
            scenes = compose(settings, split, part, empty=settings.empty)
            names = [f"{len(images) + index:05}.png" for index in range(len(scenes.images))]
            yield from save_pictures(scenes.images, [root / split / name for name in names])
            for name, owners, bright in zip(names, scenes.owners, scenes.bright, strict=True):
                images.append({"id": len(images), "file_name": name, "width": settings.size, "height": settings.size})
                for entry in _objects(owners, bright):
                    annotations.append({"id": len(annotations) + 1, "image_id": len(images) - 1, **entry})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content) + "\n")


def _objects(owners: NDArray[np.uint8], bright: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    """Category, box, area and mask of every digit of a scene [H, W] that can be seen."""
    numbers = np.unique(owners[owners > 0])
    masks = np.asfortranarray((owners[..., None] == numbers).astype(np.uint8))
    for number, mask in zip(numbers, rle.encode(masks), strict=True):
        yield {
            "category_id": 1 + int(bright[number - 1]),
            "bbox": rle.toBbox(mask).tolist(),
            "area": int(rle.area(mask)),
            "iscrowd": 0,
            "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()},
        }
