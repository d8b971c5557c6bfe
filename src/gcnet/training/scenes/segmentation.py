"""Scenes as pairs of image and mask: label every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gcnet.training.scenes.compose import SceneSettings, compose, part_sizes
from gcnet.training.scenes.drawing import save_pictures


def write_segmentation(root: Path, settings: SceneSettings) -> Iterator[Path]:
    """Write ``<split>/images/00000.png`` and ``<split>/masks/00000.png``; yield each mask when its pair is there."""
    for split in ("train", "val"):
        folders = [root / split / kind for kind in ("images", "masks")]
        for folder in folders:
            folder.mkdir(parents=True)
        first = 0
        for part, count in enumerate(part_sizes(settings, split)):
            scenes = compose(settings, split, part)
            images, masks = ([folder / f"{first + i:05}.png" for i in range(count)] for folder in folders)
            for _ in save_pictures(scenes.images, images):
                pass
            yield from save_pictures(scenes.masks, masks)
            first += count
