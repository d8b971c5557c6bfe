"""Folders of Hugging Face datasets: saved by ``save_to_disk``, or parquet and image folders with metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from gcnet.blocks.base import check_choice
from gcnet.training.class_folders import split_classes
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.image_source import IndexedSource, Transform
from gcnet.training.data_files import check_all
from gcnet.training.images import header_problem, read_image
from gcnet.training.loading import BrokenSample

_SAVED = ("dataset_dict.json", "state.json")
_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


@dataclass(frozen=True)
class HubFolder(IndexedSource):
    """Tables with an image column and a label column.

    Attributes:
        classes: names of the classes.
        folder: where the tables lie.
        tables: for train and val, a ``datasets.Dataset`` whose images are not decoded.
        rows: for train and val, the rows used of it and their labels.
        image_column: name of the column of images.
    """

    classes: tuple[str, ...]
    folder: Path
    tables: dict[str, Any]
    rows: dict[str, tuple[tuple[int, int], ...]]
    image_column: str

    @property
    def summary(self) -> str:
        """Counts of images and classes."""
        counts = f"{len(self.rows['train'])} training and {len(self.rows['val'])} validation images"
        return f"{counts} of {len(self.classes)} classes in a Hugging Face data set"

    def check(self) -> None:
        """Read the header of every image."""
        check_all(self._problem, [(split, row) for split, rows in self.rows.items() for row, _ in rows])

    def _problem(self, sample: tuple[str, int]) -> str | None:
        try:
            return header_problem(*self.encoded(*sample))
        except BrokenSample as error:
            return str(error)

    def encoded(self, split: str, row: int) -> tuple[Path | bytes, str]:
        """An image as bytes or path, and what an error calls it.

        Args:
            split: train or val.
            row: of its table.

        Raises:
            BrokenSample: there is none.
        """
        image, where = self.tables[split][row][self.image_column], f"{self.folder}: row {row} of {split}"
        if image is None:
            raise BrokenSample(f"{where}: has no image")
        return (Path(image["path"]) if image["bytes"] is None else image["bytes"]), where

    def dataset(self, split: str, transform: Transform) -> HubImages:
        """Pairs of image and label by index."""
        return HubImages(self, split, transform)


class HubImages(Dataset[tuple[Tensor, int]]):
    """Images [3, H, W] as ``transform`` makes them from rows, and their labels.

    Args:
        source: the tables.
        split: train or val.
        transform: picture to tensor.

    Raises:
        BrokenSample: on reading, a row whose image cannot be decoded, by its number.
    """

    def __init__(self, source: HubFolder, split: str, transform: Transform) -> None:
        self.source = source
        self.split = split
        self.transform = transform

    def __len__(self) -> int:
        return len(self.source.rows[self.split])

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row, label = self.source.rows[self.split][index]
        return self.transform(read_image(*self.source.encoded(self.split, row))), label


def is_hub_folder(root: Path) -> bool:
    """Whether ``datasets`` saved the folder, or can load it: parquet, or images with a metadata file."""
    saved = any((root / name).is_file() for name in _SAVED)
    return saved or _has_metadata(root) or any(root.glob("*.parquet")) or any(root.glob("*/*.parquet"))


def _has_metadata(root: Path) -> bool:
    return any((root / split / name).is_file() for split in (".", "train") for name in _METADATA)


def find_rows(config: ClassificationConfig) -> HubFolder:
    """Open a folder of Hugging Face datasets; nothing is downloaded.

    Splits are train and validation (or val, valid, test); a single split is divided as image folders are. Labels are
    a ClassLabel, strings, or numbers from 0.

    Raises:
        ValueError: the folder cannot be loaded, no or several candidates for a column or a split, a label that is
            missing, fewer than two classes.
    """
    splits = _load(config.data)
    train = splits.get("train") if len(splits) > 1 else next(iter(splits.values()))
    held_out = next((splits[name] for name in ("validation", "val", "valid", "test") if name in splits), None)
    if train is None or (len(splits) > 1 and held_out is None):
        raise ValueError(
            f"data={config.data}: has the splits {', '.join(splits)}; expected train and validation or test"
        )
    image = _column(config.data, train, "image_column", config.image_column, _is_image)
    label = _column(config.data, train, "label_column", config.label_column, _is_label)
    classes, numbers = _labels(config.data, train, label)
    tables = {"train": _undecoded(train, image), "val": _undecoded(train, image)}
    if held_out is None or held_out is train:
        members = {name: [row for row, number in enumerate(numbers) if number == k] for k, name in enumerate(classes)}
        present = {name: rows for name, rows in members.items() if rows}
        parts = split_classes(present, config.val_fraction, "image", f"data={config.data}")
        rows = [tuple((row, numbers[row]) for part in half.values() for row in part) for half in parts]
    else:
        if image not in held_out.column_names or label not in held_out.column_names:
            raise ValueError(f"data={config.data}: its validation split lacks the column {image!r} or {label!r}")
        tables["val"] = _undecoded(held_out, image)
        rows = [tuple(enumerate(numbers)), tuple(enumerate(_labels(config.data, held_out, label, classes)[1]))]
    if len(classes) < 2:
        raise ValueError(f"data={config.data}: found one class only ({classes[0]!r}); classification needs two or more")
    return HubFolder(classes, config.data, tables, {"train": rows[0], "val": rows[1]}, image)


def _load(root: Path) -> dict[str, Any]:
    """Splits by name."""
    import datasets

    try:
        if any((root / name).is_file() for name in _SAVED):
            loaded = datasets.load_from_disk(str(root))
        else:
            kind = "imagefolder" if _has_metadata(root) else "parquet"  # by name: a README there may point elsewhere
            loaded = datasets.load_dataset(kind, data_dir=str(root.resolve()))
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"data={root}: cannot be loaded by Hugging Face datasets ({reason})") from error
    return dict(loaded) if isinstance(loaded, Mapping) else {"train": loaded}


def _is_image(feature: Any) -> bool:
    from datasets import Image

    return isinstance(feature, Image)


def _is_label(feature: Any) -> bool:
    from datasets import ClassLabel

    return isinstance(feature, ClassLabel)


def _column(root: Path, table: Any, field: str, given: str | None, fits: Any) -> str:
    """The column of a name, or the only one that fits; for labels, else the one called label."""
    if given is not None:
        check_choice(field, given, table.column_names)
        return given
    found = [name for name, feature in table.features.items() if fits(feature)]
    if not found and field == "label_column":
        found = [name for name in ("label", "labels") if name in table.column_names]
    if len(found) != 1:
        which = f"several candidates ({', '.join(found)})" if found else f"none among {', '.join(table.column_names)}"
        raise ValueError(f"data={root}: {field} is not clear, there are {which}; name it")
    return found[0]


def _labels(root: Path, table: Any, column: str, classes: Sequence[str] = ()) -> tuple[tuple[str, ...], list[int]]:
    """Names of the classes, and the label of every row as a place in them."""
    values = list(table[column])
    if None in values:
        raise ValueError(f"data={root}: row {values.index(None)} has no {column}; fill it or remove the row")
    names = getattr(table.features[column], "names", None)
    if names is None and all(isinstance(value, int) for value in values):
        names = classes or [str(number) for number in range(max(values) + 1)]
    if names is not None:
        if classes and tuple(names) != tuple(classes):
            raise ValueError(f"data={root}: the classes of training and validation differ in {column}")
        wrong = next((row for row, value in enumerate(values) if not 0 <= value < len(names)), None)
        if wrong is not None:
            raise ValueError(f"data={root}: row {wrong} has the {column} {values[wrong]}, not 0 to {len(names) - 1}")
        return tuple(names), values
    names = classes or sorted(set(map(str, values)))
    places = {name: index for index, name in enumerate(names)}
    odd = next((value for value in values if str(value) not in places), None)
    if odd is not None:
        raise ValueError(f"data={root}: the class {odd!r} of validation does not occur in training")
    return tuple(names), [places[str(value)] for value in values]


def _undecoded(table: Any, image: str) -> Any:
    """The table with its image column alone, as bytes or paths."""
    from datasets import Image

    return table.select_columns([image]).cast_column(image, Image(decode=False))
