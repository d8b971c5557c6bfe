"""One line about a run: how far it is, how long it takes, its latest score."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm  # type: ignore[import-untyped]

QUIET_SECONDS = 60  # between lines where there is no terminal


class RunProgress(ProgressBar):
    """One bar with remaining time for the whole run; without a terminal, a line per epoch and at most one per minute.

    Args:
        title: what is being trained, such as "gc, seed 0".
        metric: logged validation metric to show.
    """

    def __init__(self, title: str, metric: str) -> None:
        super().__init__()
        self.title = title
        self.metric = metric
        self._shown = True
        self._score = ""
        self._line_at = 0.0
        self._bar: tqdm[Any] | None = None

    def disable(self) -> None:
        """Show nothing: Lightning calls this on every process but the first."""
        self._shown = False

    def enable(self) -> None:
        """Show it again."""
        self._shown = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the step the run starts or resumes from."""
        self._line_at = time.monotonic()
        if self._shown:
            self._bar = tqdm(
                desc=self.title,
                total=int(trainer.estimated_stepping_batches),
                initial=trainer.global_step,
                disable=not sys.stderr.isatty(),
                bar_format="{desc}: {percentage:3.0f}%|{bar:24}| {elapsed} elapsed, {remaining} left{postfix}",
            )
            self._started, self._first = time.monotonic(), trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Advance to the trainer's step."""
        if self._bar is None:
            return
        if not self._bar.disable:
            self._bar.update(trainer.global_step - self._bar.n)
        elif time.monotonic() - self._line_at > QUIET_SECONDS:
            self._print(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch and its score."""
        if self._bar is None or trainer.sanity_checking or self.metric not in trainer.callback_metrics:
            return
        self._score = f", {self.metric} {trainer.callback_metrics[self.metric]:.3f}"
        if self._bar.disable:
            self._print(trainer)
        else:
            self._bar.set_postfix_str(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}{self._score}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message that follows has a line of its own."""
        self.on_train_end(trainer, pl_module)

    def _print(self, trainer: Trainer) -> None:
        self._line_at = time.monotonic()
        done = trainer.global_step - self._first
        left = (int(trainer.estimated_stepping_batches) - trainer.global_step) * (self._line_at - self._started)
        remaining = f", {tqdm.format_interval(left / done)} left" if done else ""
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        print(f"{self.title}: {epoch}{self._score}{remaining}", flush=True)
