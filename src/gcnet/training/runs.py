"""What every training run needs: its own folder, a quiet Lightning, one progress bar, a clean stop."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from torch.utils.data import DataLoader
from tqdm import tqdm  # type: ignore[import-untyped]

from gcnet.blocks.base import check_choice
from gcnet.files import whole_file


def new_run_folder(root: Path) -> Path:
    """Create and return the next free ``root/001``, ``root/002``, ...; existing runs are never touched.

    Example:
        >>> runs = getfixture("tmp_path")
        >>> new_run_folder(runs).name, new_run_folder(runs).name
        ('001', '002')
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _next_folder(root)
    except OSError as error:
        raise ValueError(f"out={root}: cannot be written ({error.strerror})") from error


def _next_folder(root: Path) -> Path:
    number = max((int(path.name) for path in root.iterdir() if path.name.isdecimal()), default=0)
    while True:
        number += 1
        folder = root / f"{number:03}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def save_json(path: Path, content: Any) -> None:
    """Write dataclasses, dicts and lists as JSON; the file appears whole or not at all."""

    def plain(value: Any) -> Any:
        return (
            dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)
        )

    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, default=plain) + "\n")


PRECISIONS = ("auto", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true")


def resolve_precision(precision: str) -> str:
    """Lightning's ``precision``; ``"auto"`` is automatic mixed precision on CUDA GPUs and float32 elsewhere.

    Example:
        >>> resolve_precision("auto") in ("32-true", "bf16-mixed", "16-mixed")
        True
    """
    check_choice("precision", precision, PRECISIONS)
    if precision != "auto":
        return precision
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's start-up notes and its advice on workers; real warnings still show."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for advice in (
                ".*does not have many workers.*",
                ".*lower value for log_every_n_steps.*",
                ".*exists and is not empty.*",  # resuming writes on into the run's own folder
                ".*isinstance.*LeafSpec.*",  # Lightning's use of a renamed part of torch
            ):
                warnings.filterwarnings("ignore", message=advice)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Torch computes with ``count`` CPU threads inside, and with as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class RunProgress(ProgressBar):
    """One bar with remaining time for the whole run; without a terminal, one line per epoch.

    Args:
        title: what is being trained, such as "gc, seed 0".
        metric: logged validation metric to show.
    """

    def __init__(self, title: str, metric: str) -> None:
        super().__init__()
        self.title = title
        self.metric = metric
        self._bar: tqdm[Any] | None = None

    def disable(self) -> None:
        """Lightning calls this on every process but the first; there is one process here."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the step the run starts or resumes from."""
        self._bar = tqdm(
            desc=self.title,
            total=int(trainer.estimated_stepping_batches),
            initial=trainer.global_step,
            disable=not sys.stderr.isatty(),
            bar_format="{desc}: {percentage:3.0f}%|{bar:24}| {elapsed} elapsed, {remaining} left{postfix}",
        )

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Advance to the trainer's step."""
        if self._bar is not None:
            self._bar.update(trainer.global_step - self._bar.n)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch and its score."""
        if self._bar is None or trainer.sanity_checking or self.metric not in trainer.callback_metrics:
            return
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        score = f"{self.metric} {trainer.callback_metrics[self.metric]:.3f}"
        if self._bar.disable:
            print(f"{self.title}: {epoch}, {score}", flush=True)
        else:
            self._bar.set_postfix_str(f"{epoch}, {score}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the message that follows has a line of its own."""
        self.on_train_end(trainer, pl_module)


def fit(
    trainer: Trainer, task: LightningModule, train: DataLoader[Any], val: DataLoader[Any], resume: Path | None = None
) -> None:
    """``trainer.fit``; Ctrl-C raises KeyboardInterrupt here, where Lightning would end the process.

    Args:
        resume: Lightning checkpoint to continue from.
    """
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, train, val, ckpt_path=resume, weights_only=True if resume else None)
    except SystemExit:
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt
