"""What a task brings to the common run: its data, its network, its Lightning module, its pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from gcnet.training.config import TrainingConfig
from gcnet.training.loading import BrokenSample, Loader, Place
from gcnet.training.task import Task

Config = TypeVar("Config", bound=TrainingConfig)
OwnTask = TypeVar("OwnTask", bound=Task)


class Experiment(ABC, Generic[Config, OwnTask]):
    """One configuration with its data found and checked; nothing is written or trained yet.

    Args:
        config: of the task's own class.
        classes: of a network trained before; then no data is looked for, and the loaders cannot be asked for.

    Attributes:
        classes: names of the classes, in the order of the network's outputs.
        summary: one line about the data; empty without data.

    Raises:
        ValueError, FileNotFoundError: naming the field or the file that is wrong.
    """

    classes: tuple[str, ...]
    summary: str

    def __init__(self, config: Config, classes: Sequence[str] | None = None) -> None:
        self.config = config
        self.classes, self.summary = self.open_data() if classes is None else (tuple(classes), "")

    @abstractmethod
    def open_data(self) -> tuple[tuple[str, ...], str]:
        """Find and check the data, keep what the loaders need; return the classes and the summary."""

    @abstractmethod
    def build_network(self) -> nn.Module:
        """The network with weights and blocks, tried on one input."""

    @abstractmethod
    def build_task(self, net: nn.Module) -> OwnTask:
        """The Lightning module around the network."""

    @abstractmethod
    def train_loader(self, place: Place) -> Loader:
        """Training batches of one process."""

    @abstractmethod
    def val_loader(self, place: Place) -> Loader:
        """Validation batches of one process."""

    @abstractmethod
    def val_files(self) -> list[Path]:
        """Images or videos of the validation part; none of data that does not keep each in a file of its own."""

    def write_scores(self, folder: Path, task: OwnTask) -> dict[str, object]:
        """Write pictures and tables of the last validation into ``folder``; what is returned joins results.json."""
        return {}

    @contextmanager
    def leaving_out_broken(self) -> Iterator[None]:
        """What cannot be read inside is an error, or is printed and left out, as ``config.on_broken`` says."""
        try:
            yield
        except BrokenSample as error:
            if self.config.on_broken == "error":
                raise
            print(f"left out: {error}")

    @abstractmethod
    def predict(self, task: OwnTask, inputs: Sequence[Path], out: Path) -> Path:
        """Predict for files of the task's kind; write ``predictions.json`` and pictures into ``out``.

        Args:
            task: trained, in eval mode, on its device.
            inputs: files, or folders of them.
            out: an existing folder.

        Returns:
            The path of predictions.json.

        Raises:
            BrokenSample: a file that cannot be read, by name, unless it is left out.
        """


def open_experiment(config: TrainingConfig, classes: Sequence[str] | None = None) -> Experiment[Any, Any]:
    """The experiment of a configuration's task; see :class:`Experiment`."""
    module = import_module(f"gcnet.training.{config.task}.experiment")
    experiment: Experiment[Any, Any] = module.EXPERIMENT(config, classes)
    return experiment


def check_classes(experiment: Experiment[Any, Any], classes: Sequence[str], run: Path | None) -> None:
    """Raise ValueError unless the data has the ``classes`` that the network of ``run`` was trained on."""
    if tuple(classes) != experiment.classes:
        raise ValueError(
            f"data={experiment.config.data}: its classes are {', '.join(experiment.classes)}; {run} was trained on "
            f"{', '.join(classes)}"
        )
