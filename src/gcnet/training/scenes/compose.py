"""Context scenes: pictures in which one pixel cannot be judged without seeing the whole picture.

Every scene shows handwritten digits (the real ones that scikit-learn ships) on a darkened photograph. A scene has a
base brightness, and each digit is drawn a little darker or a little brighter than that. The base varies from scene to
scene far more than the digits do within one, so the same grey is "dark" in one scene and "bright" in the next: a
network that sees a neighbourhood only cannot know, one that sees the scene's average can.

Labels per pixel: 0 background, 1 a digit darker than the scene's digits on average, 2 a brighter one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcnet.training.scenes.drawing import CELL, blend, crop_photos, draw_digits, read_digits

CLASS_NAMES = ("background", "darker digit", "brighter digit")


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What the scenes look like and how many there are. Brightness runs from 0 (black) to 1 (white).

    Attributes:
        train: scenes to train on.
        val: scenes to validate on; their digits and photograph regions never occur in training scenes.
        size: height and width in pixels; a multiple of 16.
        digits: digits per scene, at least 2 and at most (size / 16)^2 and 255.
        base: range of a scene's base brightness.
        offset: how much darker or brighter than the base a digit is.
        noise: range of a scene's noise (standard deviation of each pixel).
        photo: brightness of the photograph behind the digits, as a factor; 0 gives a black background.
        seed: the same seed gives the same files, byte for byte.
    """

    train: int = 2000
    val: int = 500
    size: int = 64
    digits: int = 8
    base: tuple[float, float] = (0.35, 0.8)
    offset: float = 0.08
    noise: tuple[float, float] = (0.02, 0.03)
    photo: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "val"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} scenes: give at least 1")
        if self.size < CELL or self.size % CELL:
            raise ValueError(f"size={self.size} must be a multiple of {CELL}, such as 64")
        cells = min((self.size // CELL) ** 2, 255)
        if not 2 <= self.digits <= cells:
            raise ValueError(f"digits={self.digits} must be between 2 and {cells} for scenes of {self.size} pixels")
        low, high = self.base
        if self.offset <= 0 or not self.offset <= low <= high <= 1 - self.offset:
            raise ValueError(f"base={self.base} with offset={self.offset} leaves the range of brightness 0 to 1")
        if not 0 <= self.noise[0] <= self.noise[1]:
            raise ValueError(f"noise={self.noise} must be a range such as (0.02, 0.03)")
        if not 0 <= self.photo <= 1:
            raise ValueError(f"photo={self.photo} must be between 0 and 1")


@dataclass(frozen=True)
class Scenes:
    """Finished scenes, and the choices they were made from.

    Attributes:
        images: uint8 [N, H, W, 3].
        masks: uint8 [N, H, W], the label of each pixel.
        owners: uint8 [N, H, W], number from 1 of the digit that a pixel shows, 0 where it shows none.
        base: [N], base brightness.
        bright: bool [N, K], whether a digit is brighter than the average of its scene.
        digit_ids: int [N, K], which digit of scikit-learn's set.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    owners: NDArray[np.uint8]
    base: NDArray[np.float64]
    bright: NDArray[np.bool_]
    digit_ids: NDArray[np.int64]


JITTER = 2  # pixels: digits are drawn in the cells of a grid, shifted by up to this
PART = 2**23  # pixels composed at a time

Places = Callable[[np.random.Generator, tuple[int, int], int], tuple[NDArray[np.int64], NDArray[np.int64]]]


def compose(
    settings: SceneSettings, split: str, part: int = 0, *, places: Places | None = None, empty: float = 0.0
) -> Scenes:
    """Compose scenes of ``split`` ("train" or "val") in memory: all of them, or a part of a large set.

    Args:
        settings: of the scenes.
        split: "train" or "val".
        part: which of the parts that :func:`part_sizes` lists.
        places: gives the corners of the digits; None to scatter them.
        empty: share of scenes without digits.

    Example:
        >>> scenes = compose(SceneSettings(train=3, val=2), "val")
        >>> scenes.images.shape, scenes.masks.max()
        ((2, 64, 64, 3), np.uint8(2))
    """
    count = part_sizes(settings, split)[part]
    rng = np.random.default_rng([settings.seed, split == "val", part])
    glyphs, ids = read_digits(split, settings.seed)
    shape = (count, settings.digits)

    chosen = rng.integers(len(glyphs), size=shape)
    bright = both_kinds(rng, shape)
    base = rng.uniform(*settings.base, size=count)
    level = base[:, None] + np.where(bright, settings.offset, -settings.offset)
    top, left = (places or scatter)(rng, shape, settings.size)
    layer = draw_digits(glyphs[chosen], level, top, left, settings.size)

    noise = rng.standard_normal((*layer.coverage.shape, 1)) * rng.uniform(*settings.noise, size=(count, 1, 1, 1))
    photo = crop_photos(rng, count, settings.size, split) * settings.photo
    bare = rng.random(count) < empty
    layer.coverage[bare] = layer.owners[bare] = 0
    labels = np.concatenate([np.zeros((count, 1), np.uint8), 1 + bright.astype(np.uint8)], axis=1)
    masks = labels[np.arange(count)[:, None, None], layer.owners]
    return Scenes(blend(layer, photo, noise), masks, layer.owners, base, bright, ids[chosen])


def part_sizes(settings: SceneSettings, split: str, frames: int = 1) -> list[int]:
    """How many scenes the parts have in which a split is composed, so that large sets fit into memory.

    Args:
        settings: of the scenes.
        split: "train" or "val".
        frames: pictures per scene.

    Example:
        >>> part_sizes(SceneSettings(train=5000), "train")
        [2048, 2048, 904]
    """
    count = {"train": settings.train, "val": settings.val}[split]
    most = max(1, PART // (settings.size**2 * frames))
    return [min(most, count - first) for first in range(0, count, most)]


def both_kinds(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """[N, K] with at least a quarter, and at least one, of each kind per scene."""
    count, digits = shape
    least = max(1, digits // 4)
    number = rng.integers(least, digits - least, endpoint=True, size=(count, 1))
    return rng.permuted(np.arange(digits) < number, axis=1)


def scatter(rng: np.random.Generator, shape: tuple[int, int], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top and left corners [N, K]: different cells of a grid, shifted a little, inside the scene."""
    cells = size // CELL
    cell = rng.permuted(np.broadcast_to(np.arange(cells**2), (shape[0], cells**2)), axis=1)[:, : shape[1]]
    corners = np.stack(np.divmod(cell, cells)) * CELL + rng.integers(-JITTER, JITTER, endpoint=True, size=(2, *shape))
    top, left = corners.clip(0, size - CELL)
    return top, left
