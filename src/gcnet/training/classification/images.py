"""Image files: which there are, whether they are sound, and their pixels as upright 8-bit RGB."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from gcnet.training.loading import BrokenSample

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")

Sample = TypeVar("Sample")
Transform = Callable[[Image.Image], Tensor]


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
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
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


def check_headers(files: Sequence[Path]) -> None:
    """Open every file and read its header.

    Raises:
        ValueError: names the first file that is no image, and how many more there are.
    """
    check_all(lambda path: header_problem(path, str(path)), files)


def header_problem(content: Path | bytes, name: str) -> str | None:
    """What is wrong with the header of a file, or of the bytes of one; None if it is sound.

    Args:
        content: path or bytes.
        name: what the message calls it.
    """
    try:
        with Image.open(content if isinstance(content, Path) else io.BytesIO(content)):
            return None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        size = len(content) if isinstance(content, bytes) else content.stat().st_size if content.exists() else -1
        return f"{name}: cannot be read as an image ({'it is empty' if size == 0 else error})"


def check_all(problem: Callable[[Sample], str | None], samples: Sequence[Sample]) -> None:
    """Look at every sample, several at a time.

    Args:
        problem: what is wrong with a sample, or None.
        samples: all of them.

    Raises:
        ValueError: the first problem, and how many more there are.
    """
    with ThreadPoolExecutor(8) as pool:
        problems = [found for found in pool.map(problem, samples) if found]
    if problems:
        more = f"; {len(problems) - 1} more files have such a problem" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}. Repair or remove it")


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Images [3, H, W] as ``transform`` makes them from files, and their labels.

    Args:
        samples: files and labels.
        transform: picture to tensor.

    Raises:
        BrokenSample: on reading, a file that cannot be decoded, by name.

    Example:
        >>> from torchvision.transforms.v2.functional import pil_to_tensor
        >>> path = getfixture("tmp_path") / "grey.png"
        >>> Image.new("L", (3, 2), 7).save(path)
        >>> image, label = LabelledImages([(path, 4)], pil_to_tensor)[0]
        >>> image.shape, label
        (torch.Size([3, 2, 3]), 4)
    """

    def __init__(self, samples: Sequence[tuple[Path, int]], transform: Transform) -> None:
        self.samples = samples
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        return self.transform(read_image(path)), label
