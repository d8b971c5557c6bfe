"""Context scenes: pictures in which one pixel cannot be judged without seeing the whole picture.

Every scene shows handwritten digits (the real ones that scikit-learn ships) on a darkened photograph. A scene has a
base brightness, and each digit is drawn a little darker or a little brighter than that. The base varies from scene to
scene far more than the digits do within one, so the same grey is "dark" in one scene and "bright" in the next: a
network that sees a neighbourhood only cannot know, one that sees the scene's average can.

Labels per pixel: 0 background, 1 a digit darker than the scene's digits on average, 2 a brighter one.
"""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASS_NAMES = ("background", "darker digit", "brighter digit")


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What the scenes look like and how many there are. Brightness runs from 0 (black) to 1 (white).

    Attributes:
        train: scenes to train on.
        val: scenes to validate on; their digits and photograph regions never occur in training scenes.
        size: height and width in pixels; a multiple of 16.
        digits: digits per scene, at least 2 and at most (size / 16)^2.
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
        cells = (self.size // CELL) ** 2
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
        base: [N], base brightness.
        bright: bool [N, K], whether a digit is brighter than the average of its scene.
        digit_ids: int [N, K], which digit of scikit-learn's set.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    base: NDArray[np.float64]
    bright: NDArray[np.bool_]
    digit_ids: NDArray[np.int64]


CELL = 16  # pixels: digits are drawn at this size, one per cell of a grid, shifted by up to JITTER
JITTER = 2
STROKE = 1.5  # gain that makes the anti-aliased strokes of the 8x8 digits solid
VAL_DIGITS = 0.2  # share of the digits kept for validation
VAL_PHOTO = 0.4  # share of each photograph's width, from the left, kept for validation


def compose(settings: SceneSettings, split: str) -> Scenes:
    """Compose the scenes of ``split`` ("train" or "val") in memory.

    Example:
        >>> scenes = compose(SceneSettings(train=3, val=2), "val")
        >>> scenes.images.shape, scenes.masks.max()
        ((2, 64, 64, 3), np.uint8(2))
    """
    count = {"train": settings.train, "val": settings.val}[split]
    rng = np.random.default_rng([settings.seed, split == "val"])
    glyphs, ids = _digits(split, settings.seed)
    shape = (count, settings.digits)

    chosen = rng.integers(len(glyphs), size=shape)
    bright = _both_kinds(rng, shape)
    base = rng.uniform(*settings.base, size=count)
    level = base[:, None] + np.where(bright, settings.offset, -settings.offset)
    top, left = _places(rng, shape, settings.size)

    coverage = np.zeros((count, settings.size, settings.size))
    grey = np.zeros_like(coverage)
    masks = np.zeros(coverage.shape, np.uint8)
    scene = np.arange(count)[:, None, None]
    for k in range(settings.digits):
        alpha = glyphs[chosen[:, k]]
        window = (scene, top[:, k, None, None] + np.arange(CELL)[:, None], left[:, k, None, None] + np.arange(CELL))
        in_front = alpha > coverage[window]
        coverage[window] = np.where(in_front, alpha, coverage[window])
        grey[window] = np.where(in_front, level[:, k, None, None], grey[window])
        label = np.where(alpha > 0.5, 1 + bright[:, k, None, None].astype(np.uint8), 0)
        masks[window] = np.where(in_front, label, masks[window])

    noise = rng.standard_normal((*coverage.shape, 1)) * rng.uniform(*settings.noise, size=(count, 1, 1, 1))
    photo = _photo_crops(rng, count, settings.size, split) * settings.photo
    picture = photo + coverage[..., None] * (grey[..., None] - photo) + noise
    images = (picture.clip(0, 1) * 255).round().astype(np.uint8)
    return Scenes(images, masks, base, bright, ids[chosen])


def write_scenes(root: Path, settings: SceneSettings) -> Path:
    """Write both splits as PNG files: ``<split>/images/00000.png``, ``<split>/masks/00000.png``, and ``meta.json``.

    Returns:
        ``root``, which must not hold scenes already (FileExistsError).
    """
    for split in ("train", "val"):
        scenes = compose(settings, split)
        for kind, arrays in (("images", scenes.images), ("masks", scenes.masks)):
            folder = root / split / kind
            folder.mkdir(parents=True)
            paths = [folder / f"{index:05}.png" for index in range(len(arrays))]
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(_write_png, arrays, paths))
    meta = {"classes": CLASS_NAMES, "settings": dataclasses.asdict(settings)}
    (root / "meta.json").write_text(json.dumps(meta, indent=2) + "\n")
    return root


def _write_png(array: NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(array).save(path, compress_level=1)


def _digits(split: str, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Opacities [D, CELL, CELL] of the digits of a split, and their indices in scikit-learn's set."""
    from sklearn.datasets import load_digits

    drawings = load_digits().images / 16
    order = np.random.default_rng(seed).permutation(len(drawings))
    held_out = round(VAL_DIGITS * len(order))
    ids = order[:held_out] if split == "val" else order[held_out:]
    resized = [
        Image.fromarray(drawings[i].astype(np.float32)).resize((CELL, CELL), Image.Resampling.BICUBIC) for i in ids
    ]
    return (np.stack([np.asarray(glyph, np.float64) for glyph in resized]) * STROKE).clip(0, 1), ids


def _both_kinds(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """[N, K] with at least a quarter, and at least one, of each kind per scene."""
    count, digits = shape
    least = max(1, digits // 4)
    number = rng.integers(least, digits - least, endpoint=True, size=(count, 1))
    return rng.permuted(np.arange(digits) < number, axis=1)


def _places(rng: np.random.Generator, shape: tuple[int, int], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Top and left corners [N, K]: different cells of a grid, shifted a little, inside the scene."""
    cells = size // CELL
    cell = rng.permuted(np.broadcast_to(np.arange(cells**2), (shape[0], cells**2)), axis=1)[:, : shape[1]]
    corners = np.stack(np.divmod(cell, cells)) * CELL + rng.integers(-JITTER, JITTER, endpoint=True, size=(2, *shape))
    top, left = corners.clip(0, size - CELL)
    return top, left


def _photo_crops(rng: np.random.Generator, count: int, size: int, split: str) -> NDArray[np.float64]:
    """Random crops [N, size, size, 3] of scikit-learn's two photographs; validation has its own part of each."""
    from sklearn.datasets import load_sample_images

    parts = []
    for photo in load_sample_images().images:
        border = round(photo.shape[1] * VAL_PHOTO)
        part = Image.fromarray(photo[:, :border] if split == "val" else photo[:, border:])
        scale = max(0.5, size / min(part.size))
        parts.append(np.asarray(part.resize((round(part.width * scale), round(part.height * scale)))))
    crops = np.empty((count, size, size, 3))
    for crop in crops:
        part_array = parts[rng.integers(len(parts))]
        top, left = (rng.integers(extent - size, endpoint=True) for extent in part_array.shape[:2])
        crop[:] = part_array[top : top + size, left : left + size][:, :: rng.choice([-1, 1])] / 255
    return crops
