"""The data of a run as Lightning asks for it, resumable after any batch."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningDataModule

from gcnet.training.experiment import Experiment
from gcnet.training.loading import Loader, Place


class RunData(LightningDataModule):
    """The loaders of an experiment, in the place of this process; after an interruption they go on where they were."""

    def __init__(self, experiment: Experiment[Any, Any]) -> None:
        super().__init__()
        self.experiment = experiment
        self._train: Loader | None = None
        self._val: Loader | None = None
        self._resumed: dict[str, Any] | None = None

    def train_dataloader(self) -> Loader:
        """Training batches."""
        self._train = self.experiment.train_loader(self._place())
        if self._resumed is not None:
            self._train.load_state_dict(self._resumed)
        return self._train

    def val_dataloader(self) -> Loader:
        """Validation batches."""
        self._val = self.experiment.val_loader(self._place())
        return self._val

    def state_dict(self) -> dict[str, Any]:
        """How far the training batches are; part of the checkpoint."""
        return {} if self._train is None else self._train.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Make the next loader go on there: Lightning asks for it before it restores its own loops."""
        self._resumed = state_dict

    @property
    def broken(self) -> list[str]:
        """What was wrong with the samples left out, each once."""
        loaders = [loader for loader in (self._train, self._val) if loader is not None]
        return list(dict.fromkeys(message for loader in loaders for message in loader.broken))

    def _place(self) -> Place:
        if self.trainer is None:
            raise RuntimeError("RunData gives loaders to a Trainer, which sets itself here")
        return Place(self.trainer.global_rank, self.trainer.world_size)
