"""Images sorted into one folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from gcnet.training.class_folders import Labelled, find_labelled
from gcnet.training.classification.image_source import IndexedSource, Transform
from gcnet.training.data_files import check_all
from gcnet.training.images import SUFFIXES, header_problem, read_image


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Images [3, H, W] as ``transform`` makes them from files, and their labels.

    Args:
        samples: files and labels.
        transform: picture to tensor.

    Raises:
        BrokenSample: on reading, a file that cannot be decoded, by name.

    Example:
        >>> from PIL import Image
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
        paths = [path for path, _ in self.files.train + self.files.val]
        check_all(lambda path: header_problem(path, str(path)), paths)

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
