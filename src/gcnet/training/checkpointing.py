"""Checkpoints of a run: written whole or not at all, after every epoch and every few minutes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from gcnet.blocks.base import check_choice
from gcnet.files import whole_file


class WholeFiles(TorchCheckpointIO):
    """Lightning's checkpoints on a local disk; an interrupted or failed write leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint``."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            try:
                torch.save(checkpoint, partial)
            except RuntimeError as error:  # what torch makes of a full disk
                free = shutil.disk_usage(path.parent).free / 1e6
                raise OSError(f"{path}: cannot be written, with {free:.0f} MB free on its disk ({error})") from error


class RunCheckpoint(Checkpoint):
    """``best.ckpt`` by a score and ``last.ckpt``, after every epoch; ``last.ckpt`` also within an epoch.

    Args:
        folder: of the checkpoints.
        score: logged metric, the larger the better.
        minutes: between checkpoints within an epoch.

    Attributes:
        best: the best score so far, None before the first; part of the checkpoint.
    """

    def __init__(self, folder: Path, score: str, minutes: float) -> None:
        self.folder = folder
        self.score = score
        self.minutes = minutes
        self.best: float | None = None
        self._saved_at = time.monotonic()

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Remove what a process that was killed while writing left behind."""
        if trainer.is_global_zero:
            for partial in self.folder.glob(".*.ckpt"):
                partial.unlink(missing_ok=True)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save if it is time, between two steps of the optimizer, unless the epoch's own checkpoint follows."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        between_steps = batches % trainer.accumulate_grad_batches == 0
        due = trainer.strategy.broadcast(time.monotonic() - self._saved_at >= 60 * self.minutes)
        if due and between_steps and batches < trainer.num_training_batches:
            self._save(trainer, "last")

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save the epoch, after its validation."""
        score = float(trainer.callback_metrics[self.score])
        if self.best is None or score > self.best:
            self.best = score
            self._save(trainer, "best")
        self._save(trainer, "last")

    def _save(self, trainer: Trainer, name: str) -> None:
        trainer.save_checkpoint(self.folder / f"{name}.ckpt")
        self._saved_at = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The best score."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it over."""
        self.best = state_dict["best"]


_PARTS = ("state_dict", "optimizer_states", "loops", "RunData", "history", "classes", "sums", "world")


def checkpoint_path(run: Path, name: str = "last") -> Path:
    """``best`` or ``last`` checkpoint of a run.

    Raises:
        ValueError: another name.
        FileNotFoundError: there is none.
    """
    check_choice("checkpoint", name, ("best", "last"))
    path = run / "checkpoints" / f"{name}.ckpt"
    if not path.is_file():
        raise FileNotFoundError(f"run={run}: has no checkpoint ({path} does not exist)")
    return path


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """A checkpoint of a run; nothing in it is executed.

    Raises:
        ValueError: it is damaged or of another kind.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        if missing := sorted(set(_PARTS) - checkpoint.keys()):
            raise ValueError(f"it has no {missing[0]}")
    except UnpicklingError as error:
        raise ValueError(f"{path} holds more than tensors and plain values; nothing in it was executed") from error
    except Exception as error:
        raise ValueError(f"{path} is damaged or no checkpoint of a run ({type(error).__name__}: {error})") from error
    return checkpoint
