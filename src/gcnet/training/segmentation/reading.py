"""Masks out of their files, and what can be wrong with them and their images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gcnet.training.loading import BrokenSample
from gcnet.training.segmentation.labels import relabel

MASK_MODES = ("1", "L", "P", "I;16", "I;16B", "I")
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


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
    except _UNREADABLE as error:
        raise BrokenSample(f"{path}: cannot be read as a mask ({error})") from error
    try:
        return torch.from_numpy(relabel(values, table))
    except ValueError as error:
        raise BrokenSample(f"{path}: {error}") from error


def pair_problem(image: Path, mask: Path) -> str | None:
    """What the headers of an image and its mask say against them, if anything."""
    sizes = []
    for path in (image, mask):
        try:
            with Image.open(path) as picture:
                problem = _mode_problem(picture) if path == mask else None
                turned = path == image and picture.getexif().get(_ORIENTATION, 1) >= 5
                sizes.append(picture.size if turned else picture.size[::-1])
        except _UNREADABLE as error:
            problem = f"is no image that can be read ({error})"
        if problem:
            return f"{path}: {problem}"
    return None if sizes[0] == sizes[1] else other_size(mask, sizes[1], image, sizes[0])


def other_size(path: Path, size: tuple[int, ...], partner: Path, expected: tuple[int, ...]) -> str:
    """The message about two files that should have the same height and width."""
    return f"{path}: its size {size} differs from {expected} of {partner}"


_ORIENTATION = 0x0112  # of EXIF; from 5 on, rows and columns are exchanged


def _mode_problem(picture: Image.Image) -> str | None:
    if picture.mode in MASK_MODES:
        return None
    modes = ", ".join(MASK_MODES)
    return f"a mask holds a label per pixel in one channel (mode {modes}), not colours of mode {picture.mode}"
