"""Images sorted into one folder per class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from gcnet.training.classification.image_source import IndexedSource, split_per_class
from gcnet.training.classification.images import SUFFIXES, LabelledImages, Transform, check_headers

_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")

Sample = tuple[Path, int]


@dataclass(frozen=True)
class ImageFolder(IndexedSource):
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

    @property
    def summary(self) -> str:
        """Counts of images and classes, and of files left aside."""
        text = f"{len(self.train)} training and {len(self.val)} validation images of {len(self.classes)} classes"
        if not self.unused:
            return text
        kinds = Counter(path.suffix or "without suffix" for path in self.unused)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        return f"{text}; {len(self.unused)} other files are not used ({counts}), such as {self.unused[0]}"

    def check(self) -> None:
        """Read the header of every file."""
        check_headers([path for path, _ in self.train + self.val])

    def dataset(self, split: str, transform: Transform) -> LabelledImages:
        """Pairs of image and label by index."""
        return LabelledImages(self.train if split == "train" else self.val, transform)


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
        found = _class_files(root)
        if all(name.lower() in _SPLITS for name in found):
            raise ValueError(f"data={root}: {', '.join(found)} look like splits, not classes; name them train and val")
        try:
            train, val = split_per_class(found, val_fraction)
        except ValueError as error:
            raise ValueError(f"data={root}: {error}") from None
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
