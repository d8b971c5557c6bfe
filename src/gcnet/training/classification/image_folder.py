"""Images sorted into one folder per class."""

from __future__ import annotations

from pathlib import Path

from gcnet.training.class_folders import Labelled, find_labelled
from gcnet.training.classification.image_source import IndexedSource
from gcnet.training.classification.images import SUFFIXES, LabelledImages, Transform, check_headers


class ImageFolder(IndexedSource):
    """Image files with labels.

    Args:
        files: for training and validation.
    """

    def __init__(self, files: Labelled) -> None:
        self.files = files
        self.classes = files.classes

    @property
    def summary(self) -> str:
        """Counts of images and classes, and of files left aside."""
        return self.files.summary("image")

    def check(self) -> None:
        """Read the header of every file."""
        check_headers([path for path, _ in self.files.train + self.files.val])

    def dataset(self, split: str, transform: Transform) -> LabelledImages:
        """Pairs of image and label by index."""
        return LabelledImages(self.files.train if split == "train" else self.files.val, transform)


def find_images(root: Path, val_fraction: float = 0.2) -> ImageFolder:
    """Find the images under ``root``; see :func:`gcnet.training.class_folders.find_labelled`.

    Args:
        root: holds ``train/`` and ``val/`` (or ``test/``) of class folders, or class folders alone.
        val_fraction: share of each class that validates, where there is no split.

    Raises:
        FileNotFoundError, ValueError: naming the folder that is wrong.

    Example:
        >>> from PIL import Image
        >>> root = getfixture("tmp_path")
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     for index in range(5):
        ...         Image.new("RGB", (8, 8)).save(root / name / f"{index}.png")
        >>> found = find_images(root)
        >>> found.classes, len(found.files.train), len(found.files.val)
        (('cat', 'dog'), 8, 2)
    """
    return ImageFolder(find_labelled(root, SUFFIXES, "image", val_fraction))
