"""Image files: which there are, whether they are sound, their size, and their pixels as upright 8-bit RGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from gcnet.training.loading import BrokenSample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which pretrained backbones expect
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what PIL raises
_ORIENTATION = 0x0112  # of EXIF; from 5 on, rows and columns are exchanged


def read_image(content: Path | bytes, name: str | None = None) -> Image.Image:
    """The picture in a file, or in the bytes of one, as :func:`to_rgb` gives it.

    Args:
        content: path or bytes.
        name: what the error calls it; the path by default.

    Raises:
        BrokenSample: it cannot be decoded.

    Example:
        >>> path = getfixture("tmp_path") / "grey.png"
        >>> Image.new("L", (3, 2), 7).save(path)
        >>> read_image(path).getpixel((0, 0)), read_image(path.read_bytes()).size
        ((7, 7, 7), (3, 2))
    """
    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content)) as picture:
            return to_rgb(picture)
    except UNREADABLE as error:
        raise BrokenSample(f"{name or content!s}: cannot be decoded ({error}). Repair or remove it") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture upright, as 8-bit RGB; 16-bit grey values are scaled.

    Raises:
        ValueError: floating-point values, whose range is unknown.

    Example:
        >>> to_rgb(Image.new("I;16", (1, 1), 65535)).getpixel((0, 0))
        (255, 255, 255)
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F":
        raise ValueError("floating-point values of unknown range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8))
    return picture.convert("RGB")


def header_problem(content: Path | bytes, name: str) -> str | None:
    """What is wrong with the header of a file, or of the bytes of one; None if it is sound.

    Args:
        content: path or bytes.
        name: what the message calls it.
    """
    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content)):
            return None
    except UNREADABLE as error:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size if content.exists() else -1
        return f"{name}: cannot be read as an image ({'it is empty' if size == 0 else error})"


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of the picture in a file once it is upright, without decoding it.

    Raises:
        BrokenSample: no image.
    """
    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(_ORIENTATION, 1) >= 5
            return (picture.height, picture.width) if turned else picture.size
    except UNREADABLE as error:
        raise BrokenSample(
            header_problem(path, str(path)) or f"{path}: cannot be read as an image ({error})"
        ) from error
