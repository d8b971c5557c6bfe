"""What every form of classification data offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from PIL import Image
from torch import Tensor

from gcnet.training import loading
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.loading import ALONE, Loader, Place

Transform = Callable[[Image.Image], Tensor]


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
