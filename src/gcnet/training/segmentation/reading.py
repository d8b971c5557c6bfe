"""Masks out of their files, and what can be wrong with them and their images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gcnet.training.images import UNREADABLE, upright_size
from gcnet.training.loading import BrokenSample
from gcnet.training.segmentation.labels import relabel

MASK_MODES = ("1", "L", "P", "I;16", "I;16B", "I")


def read_mask(path: Path, table: Mapping[int, int]) -> Tensor:
    """A mask file as class indices [H, W]: grey values of 8 or 16 bits, or the indices of a palette.

    Args:
        path: of a picture with one channel.
        table: value in the file -> class index.

    Raises:
        BrokenSample: it cannot be decoded, has several channels, or holds a value that ``table`` lacks.

    Example:
        >>> path = getfixture("tmp_path") / "mask.png"
        >>> Image.fromarray(np.array([[0, 7]], np.uint16)).save(path)
        >>> read_mask(path, {0: 255, 7: 1})
        tensor([[255,   1]], dtype=torch.uint8)
    """
    try:
        with Image.open(path) as picture:
            if problem := _mode_problem(picture):
                raise ValueError(problem)
            values = np.asarray(picture).astype(np.int64)
    except UNREADABLE as error:
        raise BrokenSample(f"{path}: cannot be read as a mask ({error})") from error
    try:
        return torch.from_numpy(relabel(values, table))
    except ValueError as error:
        raise BrokenSample(f"{path}: {error}") from error


def pair_problem(image: Path, mask: Path) -> str | None:
    """What the headers of an image and its mask say against them, if anything."""
    try:
        width, height = upright_size(image)
        with Image.open(mask) as picture:
            problem, size = _mode_problem(picture), picture.size[::-1]
    except BrokenSample as error:
        return str(error)
    except UNREADABLE as error:
        return f"{mask}: cannot be read as a mask ({error})"
    if problem:
        return f"{mask}: {problem}"
    return None if size == (height, width) else other_size(mask, size, image, (height, width))


def other_size(path: Path, size: tuple[int, ...], partner: Path, expected: tuple[int, ...]) -> str:
    """The message about two files that should have the same height and width."""
    return f"{path}: its size {size} differs from {expected} of {partner}"


def _mode_problem(picture: Image.Image) -> str | None:
    if picture.mode in MASK_MODES:
        return None
    modes = ", ".join(MASK_MODES)
    return f"a mask holds a label per pixel in one channel (mode {modes}), not colours of mode {picture.mode}"
