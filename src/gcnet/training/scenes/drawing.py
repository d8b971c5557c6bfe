"""Handwritten digits and photographs that scikit-learn ships, and how scenes are drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELL = 16  # pixels: height and width of a digit
STROKE = 1.5  # gain that makes the anti-aliased strokes of the 8x8 digits solid
VAL_DIGITS = 0.2  # share of the digits kept for validation
VAL_PHOTO = 0.4  # share of each photograph's width, from the left, kept for validation


class Layer(NamedTuple):
    """Digits in front of a transparent background.

    Attributes:
        coverage: [N, H, W], opacity.
        grey: [N, H, W], brightness.
        owners: uint8 [N, H, W], number from 1 of the digit that a solid pixel shows, 0 elsewhere.
    """

    coverage: NDArray[np.float64]
    grey: NDArray[np.float64]
    owners: NDArray[np.uint8]


def read_digits(split: str, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
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


def draw_digits(
    digits: NDArray[np.float64],
    level: NDArray[np.float64],
    top: NDArray[np.int64],
    left: NDArray[np.int64],
    size: int,
) -> Layer:
    """Draw K digits in each of N pictures. What leaves a picture on one side comes in on the other.

    Args:
        digits: opacities [N, K, CELL, CELL].
        level: brightness [N, K].
        top: row of the upper border [N, K].
        left: column of the left border [N, K].
        size: height and width of the pictures.
    """
    coverage = np.zeros((len(digits), size, size))
    grey = np.zeros_like(coverage)
    owners = np.zeros(coverage.shape, np.uint8)
    picture = np.arange(len(digits))[:, None, None]
    rows = (top[..., None, None] + np.arange(CELL)[:, None]) % size
    columns = (left[..., None, None] + np.arange(CELL)) % size
    for k in range(digits.shape[1]):
        window = (picture, rows[:, k], columns[:, k])
        alpha = digits[:, k]
        in_front = alpha > coverage[window]
        coverage[window] = np.where(in_front, alpha, coverage[window])
        grey[window] = np.where(in_front, level[:, k, None, None], grey[window])
        owners[window] = np.where(in_front, np.where(alpha > 0.5, k + 1, 0), owners[window])
    return Layer(coverage, grey, owners)


def blend(layer: Layer, background: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pictures [N, H, W, 3] of digits in front of photographs [N, H, W, 3], with noise [N, H, W, 1] added."""
    pictures = np.empty(background.shape, np.uint8)
    for picture, coverage, grey, behind, grain in zip(
        pictures, layer.coverage, layer.grey, background, noise, strict=True
    ):
        mixed = behind + coverage[..., None] * (grey[..., None] - behind) + grain
        picture[:] = (mixed.clip(0, 1) * 255).round()
    return pictures


def crop_photos(rng: np.random.Generator, count: int, size: int, split: str) -> NDArray[np.float64]:
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


def save_pictures(arrays: Iterable[NDArray[np.uint8]], paths: Iterable[Path]) -> Iterator[Path]:
    """Save each array at its path as PNG, several at a time; yield the path of each in turn."""

    def save(array: Any, path: Path) -> Path:
        Image.fromarray(array).save(path, compress_level=1)
        return path

    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(save, arrays, paths)
