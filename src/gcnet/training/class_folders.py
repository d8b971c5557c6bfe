"""Files sorted into one folder per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

from gcnet.training.data_files import files_below

_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")

Item = TypeVar("Item")
Sample = tuple[Path, int]


@dataclass(frozen=True)
class Labelled:
    """Files and class indices of a data set.

    Attributes:
        classes: their names; the index of a class is its place here.
        train: files to train on.
        val: files to validate on.
        unused: other files in the folder, hidden ones aside.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    unused: tuple[Path, ...] = ()

    def summary(self, kind: str) -> str:
        """Counts of files and classes, and of files left aside, in one line.

        Args:
            kind: of the files, such as "image".
        """
        text = f"{len(self.train)} training and {len(self.val)} validation {kind}s of {len(self.classes)} classes"
        if not self.unused:
            return text
        kinds = Counter(path.suffix or "without suffix" for path in self.unused)
        counts = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common(5))
        return f"{text}; {len(self.unused)} other files are not used ({counts}), such as {self.unused[0]}"


def find_labelled(root: Path, suffixes: Sequence[str], kind: str, val_fraction: float) -> Labelled:
    """Find the files under ``root``: ``train/`` and ``val/`` (or ``test/``) of class folders, or class folders alone.

    Args:
        root: the folder.
        suffixes: of the files, in lower case.
        kind: what errors call a file, such as "image".
        val_fraction: share of each class that validates, where ``root`` has no split of its own. The choice depends on
            the file names only.

    Raises:
        FileNotFoundError: a folder is missing, there are no class folders, or one holds no such file.
        ValueError: validation and training have different classes, there is one class only, or a class is too small
            to split.

    Example:
        >>> root = getfixture("tmp_path")
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     for index in range(5):
        ...         (root / name / f"{index}.png").touch()
        >>> find_labelled(root, [".png"], "image", 0.2).summary("image")
        '8 training and 2 validation images of 2 classes'
    """
    if not root.is_dir():
        raise FileNotFoundError(f"data={root}: no such folder")
    if (root / "train").is_dir():
        held_out = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
        if held_out is None:
            raise FileNotFoundError(f"data={root}: has train/ but neither val/ nor test/ beside it")
        train, val = _class_files(root / "train", suffixes, kind), _class_files(held_out, suffixes, kind)
        if train.keys() != val.keys():
            odd = sorted(train.keys() ^ val.keys())
            where = held_out if odd[0] in train else root / "train"
            raise ValueError(f"{where}: class folder {odd[0]!r} is missing; train and {held_out.name} must agree")
    else:
        found = _class_files(root, suffixes, kind)
        if all(name.lower() in _SPLITS for name in found):
            raise ValueError(f"data={root}: {', '.join(found)} look like splits, not classes; name them train and val")
        train, val = split_classes(found, val_fraction, kind, f"data={root}")
    if len(train) < 2:
        raise ValueError(f"data={root}: found one class only ({next(iter(train))!r}); classification needs two or more")
    used = {file for split in (train, val) for files in split.values() for file in files}
    visible = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return labelled(train, val, tuple(file for file in visible if file not in used))


def labelled(
    train: Mapping[str, Sequence[Path]], val: Mapping[str, Sequence[Path]], unused: tuple[Path, ...] = ()
) -> Labelled:
    """Files by class with indices, in the order of the classes of ``train``."""
    classes = tuple(train)
    pairs = [
        tuple((file, index) for index, name in enumerate(classes) for file in split.get(name, ()))
        for split in (train, val)
    ]
    return Labelled(classes, pairs[0], pairs[1], unused)


def split_classes(
    members: Mapping[str, Sequence[Item]], val_fraction: float, kind: str, source: str
) -> tuple[dict[str, list[Item]], dict[str, list[Item]]]:
    """Split each class into training and validation; the choice depends on numbers and order of the members only.

    Args:
        members: of every class.
        val_fraction: share that validates; at least one member, and not all of them.
        kind: what the error calls a member.
        source: what the error names in front.

    Raises:
        ValueError: a class with one member.

    Example:
        >>> train, val = split_classes({"cat": range(5), "dog": range(10)}, 0.2, "image", "data=pets")
        >>> {name: len(part) for name, part in val.items()}
        {'cat': 1, 'dog': 2}
    """
    train, val = {}, {}
    for name, items in members.items():
        if len(items) < 2:
            raise ValueError(f"{source}: class {name!r} holds one {kind}; a class needs two or more to be split")
        count = min(max(1, round(val_fraction * len(items))), len(items) - 1)
        chosen = set(Random(0).sample(range(len(items)), count))
        train[name] = [item for index, item in enumerate(items) if index not in chosen]
        val[name] = [item for index, item in enumerate(items) if index in chosen]
    return train, val


def _class_files(root: Path, suffixes: Sequence[str], kind: str) -> dict[str, list[Path]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise FileNotFoundError(f"{root}: holds no class folders; expected one folder per class with its {kind}s")
    found = {}
    for folder in folders:
        found[folder.name] = files_below(folder, suffixes)
        if not found[folder.name]:
            raise FileNotFoundError(f"{folder}: class folder without {kind}s ({', '.join(suffixes)})")
    return found
