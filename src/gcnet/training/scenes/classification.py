"""Scenes in one folder per class: is the digit in the middle darker or brighter than the scene's digits on average?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcnet.training.scenes.compose import JITTER, SceneSettings, compose, part_sizes
from gcnet.training.scenes.drawing import CELL, save_pictures

CLASSES = ("darker", "brighter")


@dataclass(frozen=True, kw_only=True)
class ClassificationScenes(SceneSettings):
    """Scenes with a digit in the middle that others do not cover.

    The fields are those of :class:`SceneSettings`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        most = len(_around(self.size)) + 1
        if self.digits > most:
            raise ValueError(
                f"digits={self.digits} must be at most {most}, one of them in the middle, for {self.size} pixels"
            )


def write_classification(root: Path, settings: ClassificationScenes) -> Iterator[Path]:
    """Write ``<split>/<class>/00000.png``; yield each picture when it is there."""
    for split in ("train", "val"):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
        first = 0
        for part, count in enumerate(part_sizes(settings, split)):
            scenes = compose(settings, split, part, places=middle_first)
            names = [CLASSES[int(bright)] for bright in scenes.bright[:, 0]]
            paths = [root / split / name / f"{first + index:05}.png" for index, name in enumerate(names)]
            yield from save_pictures(scenes.images, paths)
            first += count


def middle_first(
    rng: np.random.Generator, shape: tuple[int, int], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top and left corners [N, K]: the first digit in the middle, the others around it, all shifted a little."""
    count, digits = shape
    around = _around(size)
    cells = rng.permuted(np.broadcast_to(np.arange(len(around)), (count, len(around))), axis=1)[:, : digits - 1]
    middle = np.full((count, 1, 2), (size - CELL) // 2)
    corners = np.concatenate([middle, around[cells]], axis=1) + rng.integers(
        -JITTER, JITTER, endpoint=True, size=(*shape, 2)
    )
    top, left = np.moveaxis(corners.clip(0, size - CELL), -1, 0)
    return top, left


def _around(size: int) -> NDArray[np.int64]:
    """Corners [M, 2] of the cells of a grid that the digit in the middle does not touch."""
    corners = np.stack(np.divmod(np.arange((size // CELL) ** 2), size // CELL), axis=1) * CELL
    return corners[(np.abs(corners - (size - CELL) / 2) >= CELL).any(axis=1)]
