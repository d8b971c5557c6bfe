"""Train one job, measure its network, and return the row; the same in every engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from gcnet.ablation.data import make_data
from gcnet.ablation.identity import plain_values
from gcnet.ablation.job import Job
from gcnet.ablation.measure import hardware, measure
from gcnet.ablation.row import Row
from gcnet.files import whole_file
from gcnet.training.checkpointing import checkpoint_path, read_checkpoint
from gcnet.training.run import train
from gcnet.training.run_folder import save_json

#: Of a finished run, in its folder.
ROW = "row.json"

#: Share of the run that is done, from 0 to 1, and the scores of the last epoch, empty before the first.
Report = Callable[[float, dict[str, float]], None]


class Progress(Callback):
    """Tells how far a training is after every batch, and its scores after every epoch."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.scores: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Tell the share of steps."""
        self.report(trainer.global_step / max(1, int(trainer.estimated_stepping_batches)), self.scores)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the scores for the next report."""
        self.scores = {name: float(value) for name, value in trainer.callback_metrics.items()}


def run_job(job: Job, report: Report | None = None) -> Row:
    """Train a job in its folder, going on where an earlier attempt stopped, and measure its network.

    A folder with a finished row gives that row again.

    Args:
        job: to run.
        report: is told how far it is.

    Raises:
        ValueError, TrainingStopped: as :func:`gcnet.training.run.train` and :func:`finished_row`.

    Example:
        >>> run_job(job).metrics["val_top1"]  # doctest: +SKIP
        0.953
    """
    if (row := finished_row(job)) is not None:
        return row
    started = _begun(job)
    make_data(job.config, job.scenes)
    if not _finished(job):
        train(job.config, job.folder, callbacks=[] if report is None else [Progress(report)])
    row = _row(job, started)
    save_json(job.folder / ROW, row.to_dict())
    return row


def finished_row(job: Job) -> Row | None:
    """The row in the folder of a finished run, None if it is not finished.

    Raises:
        ValueError: it is damaged, or that of another run.
    """
    path = job.folder / ROW
    if not path.is_file():
        return None
    try:
        row = Row.from_dict(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it, and the run is measured again") from error
    if row.key != job.key:
        raise ValueError(f"{path}: is of the run {row.key}; remove the folder, which belongs to {job.key}")
    return row


def _begun(job: Job) -> str:
    """When the first attempt began; kept in a hidden file, since a training starts in an empty folder only."""
    path = job.folder / ".started"
    if not path.is_file():
        job.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(datetime.now(UTC).isoformat(timespec="seconds"))
    return path.read_text()


def _finished(job: Job) -> bool:
    """Whether the training is over and only its row is missing."""
    path = job.folder / "results.json"
    return path.is_file() and len(json.loads(path.read_text())["history"]) >= job.config.epochs


def _row(job: Job, started: str) -> Row:
    results = json.loads((job.folder / "results.json").read_text())
    classes = tuple(read_checkpoint(checkpoint_path(job.folder, "last"))["classes"])
    measured = measure(job.config, classes)
    config = job.config
    return Row(
        key=job.key,
        task=config.task,
        config=plain_values(config),
        seed=config.seed,
        threads=config.threads,
        sources=job.sources,
        data=job.data,
        score=config.score,
        metrics={**results["scores"], "best": results["best"]},
        added_parameters=results["added_parameters"],
        **measured._asdict(),
        memory_mb=results["peak_memory_mb"],
        seconds=results["training_seconds"],
        versions=results["versions"],
        hardware=hardware(),
        started=started,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        folder=str(job.folder),
    )
