"""Images sorted into one folder per class, checked before training starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import InterpolationMode, v2

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".gif", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which pretrained backbones expect

Sample = tuple[Path, int]


@dataclass(frozen=True)
class ImageFolder:
    """Files and class indices of a data set.

    Attributes:
        classes: names of the class folders, sorted; the index of a class is its place here.
        train: files to train on.
        val: files to validate on.
        unused: other files in the folder, hidden ones aside.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    unused: tuple[Path, ...] = ()


def find_images(root: Path, val_fraction: float = 0.2) -> ImageFolder:
    """Find the images under ``root``: ``train/`` and ``val/`` (or ``test/``) of class folders, or class folders alone.

    Args:
        root: the folder.
        val_fraction: share of each class that validates, where ``root`` has no split of its own. The choice depends on
            the file names only.

    Raises:
        FileNotFoundError: a folder is missing, there are no class folders, or one holds no image.
        ValueError: validation and training have different classes, there is one class only, or a class is too small
            to split.

    Example:
        >>> from PIL import Image
        >>> root = getfixture("tmp_path")
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     for index in range(5):
        ...         Image.new("RGB", (8, 8)).save(root / name / f"{index}.png")
        >>> found = find_images(root)
        >>> found.classes, len(found.train), len(found.val)
        (('cat', 'dog'), 8, 2)
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data={root}: no such folder")
    if (root / "train").is_dir():
        held_out = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
        if held_out is None:
            raise FileNotFoundError(f"data={root}: has train/ but neither val/ nor test/ beside it")
        train, val = _class_files(root / "train"), _class_files(held_out)
        if train.keys() != val.keys():
            odd = sorted(train.keys() ^ val.keys())
            where = held_out if odd[0] in train else root / "train"
            raise ValueError(f"{where}: class folder {odd[0]!r} is missing; train and {held_out.name} must agree")
    else:
        train, val = {}, {}
        found = _class_files(root)
        if all(name.lower() in _SPLITS for name in found):
            raise ValueError(f"data={root}: {', '.join(found)} look like splits, not classes; name them train and val")
        for name, files in found.items():
            if len(files) < 2:
                raise ValueError(f"{root / name}: holds one image; a class needs two or more to be split")
            count = min(max(1, round(val_fraction * len(files))), len(files) - 1)
            chosen = set(Random(0).sample(files, count))
            train[name] = [file for file in files if file not in chosen]
            val[name] = [file for file in files if file in chosen]
    classes = tuple(train)
    if len(classes) < 2:
        raise ValueError(f"data={root}: found one class only ({classes[0]!r}); classification needs two or more")
    used = {file for split in (train, val) for files in split.values() for file in files}
    visible = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return ImageFolder(
        classes,
        tuple((file, index) for index, name in enumerate(classes) for file in train[name]),
        tuple((file, index) for index, name in enumerate(classes) for file in val[name]),
        tuple(file for file in visible if file not in used),
    )


def _class_files(root: Path) -> dict[str, list[Path]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise FileNotFoundError(f"{root}: holds no class folders; expected one folder per class with its images")
    found = {}
    for folder in folders:
        found[folder.name] = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found[folder.name]:
            raise FileNotFoundError(f"{folder}: class folder without images ({', '.join(SUFFIXES)})")
    return found


def check_headers(samples: Sequence[Sample]) -> None:
    """Open every file and read its header.

    Raises:
        ValueError: names the first file that is no image, and how many more there are.
    """

    def problem(sample: Sample) -> str | None:
        try:
            with Image.open(sample[0]):
                return None
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            there = sample[0].exists()
            reason = "it is empty" if there and sample[0].stat().st_size == 0 else str(error)
            return f"{sample[0]}: cannot be read as an image ({reason})"

    with ThreadPoolExecutor(8) as pool:
        problems = [found for found in pool.map(problem, samples) if found]
    if problems:
        more = f"; {len(problems) - 1} more files have such a problem" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}. Repair or remove it")


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Images [3, H, W] as ``transform`` makes them, and their class indices."""

    def __init__(self, samples: Sequence[Sample], transform: Callable[[Image.Image], Tensor]) -> None:
        self.samples = samples
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        try:
            with Image.open(path) as picture:
                image = to_rgb(picture)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{path}: cannot be decoded ({error}). Repair or remove it") from error
        return self.transform(image), label


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


def train_transform(size: int) -> Any:
    """Random crop of 35 to 100 % of the area and random mirror image, normalised: PIL image to [3, size, size]."""
    return v2.Compose([v2.RandomResizedCrop(size, scale=(0.35, 1)), v2.RandomHorizontalFlip(), *_to_tensor()])


def val_transform(size: int) -> Any:
    """Central crop of the image at 8/7 of the size, normalised: PIL image to [3, size, size]."""
    resize = v2.Resize(round(size * 8 / 7), interpolation=InterpolationMode.BILINEAR)
    return v2.Compose([resize, v2.CenterCrop(size), *_to_tensor()])


def _to_tensor() -> tuple[Any, ...]:
    return v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)
