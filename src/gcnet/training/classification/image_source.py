"""What every form of classification data offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from gcnet.training import loading
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.images import Transform
from gcnet.training.loading import ALONE, Loader, Place

Item = TypeVar("Item")


class ImageSource(ABC):
    """Images for training and validation with their labels, in whatever form they are stored.

    Batches are images [N, 3, H, W] float32 and labels [N] int64.

    Attributes:
        classes: their names; a label is a place in them.
    """

    classes: tuple[str, ...]

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line about the data."""

    @abstractmethod
    def check(self) -> None:
        """Look at what can be looked at without decoding; raise ValueError naming the first broken file."""

    @abstractmethod
    def train_loader(self, transform: Transform, config: ClassificationConfig, place: Place = ALONE) -> Loader:
        """Shuffled batches of one process."""

    @abstractmethod
    def val_loader(self, transform: Transform, config: ClassificationConfig, place: Place = ALONE) -> Loader:
        """Every validation image once, over all processes."""


class IndexedSource(ImageSource):
    """A source that can read any of its images by its index."""

    @abstractmethod
    def dataset(self, split: str, transform: Transform) -> Any:
        """Pairs of image and label by index.

        Args:
            split: train or val.
            transform: picture to tensor.
        """

    def train_loader(self, transform: Transform, config: ClassificationConfig, place: Place = ALONE) -> Loader:
        """Shuffled batches of one process."""
        return loading.train_loader(self.dataset("train", transform), config, place)

    def val_loader(self, transform: Transform, config: ClassificationConfig, place: Place = ALONE) -> Loader:
        """Every validation image once, over all processes."""
        return loading.val_loader(self.dataset("val", transform), config, place)


def split_per_class(
    members: Mapping[str, Sequence[Item]], val_fraction: float
) -> tuple[dict[str, list[Item]], dict[str, list[Item]]]:
    """Split each class into training and validation; the choice depends on numbers and order of the members only.

    Args:
        members: of every class.
        val_fraction: share that validates; at least one member, and not all of them.

    Raises:
        ValueError: a class with one member.

    Example:
        >>> train, val = split_per_class({"cat": range(5), "dog": range(10)}, 0.2)
        >>> {name: len(part) for name, part in val.items()}
        {'cat': 1, 'dog': 2}
    """
    train, val = {}, {}
    for name, items in members.items():
        if len(items) < 2:
            raise ValueError(f"class {name!r} holds one image; a class needs two or more to be split")
        count = min(max(1, round(val_fraction * len(items))), len(items) - 1)
        chosen = set(Random(0).sample(range(len(items)), count))
        train[name] = [item for index, item in enumerate(items) if index not in chosen]
        val[name] = [item for index, item in enumerate(items) if index in chosen]
    return train, val
