"""How long runs will take: as long as others like them, or else from a few real steps."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from tqdm import tqdm  # type: ignore[import-untyped]

from gcnet.ablation.check import first_of_each
from gcnet.ablation.identity import LEFT_OUT, plain_values
from gcnet.ablation.job import Job
from gcnet.ablation.row import Row
from gcnet.ablation.span import span
from gcnet.ablation.table import BLOCK_FIELDS
from gcnet.training.config import TrainingConfig
from gcnet.training.experiment import open_experiment
from gcnet.training.loading import ALONE
from gcnet.training.run_data import RunData
from gcnet.training.trainer import build_trainer, cpu_threads, fit, quiet_lightning

WARM = 2  # steps that do not count
STEPS = 8  # that do
OVERHEAD = (10.0, 40.0)  # seconds of a run besides its steps: to start a process, and to measure the network


class Estimate(NamedTuple):
    """Time for all runs.

    Attributes:
        low: seconds, one run at a time.
        high: likewise.
        source: what it was taken from.
    """

    low: float
    high: float
    source: str

    def text(self, at_once: int) -> str:
        """In words.

        Example:
            >>> Estimate(3000, 4200, "30 runs like these").text(2)
            'about 25 to 35 min, 2 at a time (from 30 runs like these)'
        """
        if not self.high:
            return f"no time: {self.source}"
        low, high = (span(seconds / at_once) for seconds in (self.low, self.high))
        together = f"{at_once} at a time" if at_once > 1 else "one at a time"
        number, unit = low.split()
        between = f"{number} to {high}" if high.endswith(unit) else f"{low} to {high}"
        return f"about {high if low == high else between}, {together} (from {self.source})"


def estimate(jobs: Sequence[Job], rows: Iterable[Row], device: str | None = None) -> Estimate:
    """Time of runs, one after the other.

    Args:
        jobs: to run; each counts as a whole.
        rows: of runs, among them those that differ from these in the block and the seed only, if there are any.
        device: rows of this one count; None for those of any.

    Example:
        >>> estimate((), ())
        Estimate(low=0.0, high=0.0, source='nothing to run')
    """
    if not jobs:
        return Estimate(0.0, 0.0, "nothing to run")
    here = [row for row in rows if device in (None, row.hardware["device"])]
    like = [row for row in here if any(_alike(row, job) for job in first_of_each(jobs))]
    return from_rows(jobs, like) if like else from_steps(jobs)


def from_rows(jobs: Sequence[Job], rows: Sequence[Row]) -> Estimate:
    """As long as other runs took from start to end: those of the same variant where there are some, or else all.

    Args:
        jobs: to run.
        rows: at least one.
    """
    taken: dict[str, list[float]] = {}
    for row in rows:
        taken.setdefault(_variant(row.config), []).append(duration(row))
    every = [seconds for each in taken.values() for seconds in each]
    low = high = 0.0
    for job in jobs:
        own = taken.get(_variant(plain_values(job.config)), every)
        low, high = low + min(own), high + max(own)
    middle = statistics.median(every)
    return Estimate(low, high, f"{len(rows)} runs of the same training with other seeds or blocks, {span(middle)} each")


def duration(row: Row) -> float:
    """Seconds of a run from its start to its end, all included; of one that paused, a bound from its training.

    Example:
        >>> duration(row)  # doctest: +SKIP
        61.0
    """
    whole = (datetime.fromisoformat(row.finished) - datetime.fromisoformat(row.started)).total_seconds()
    return max(row.seconds, min(whole, 2 * row.seconds + 60))


def from_steps(jobs: Sequence[Job]) -> Estimate:
    """Time a few steps of every variant, training and validation, here and now."""
    low = high = 0.0
    timed: dict[TrainingConfig, tuple[float, float]] = {}
    for job in tqdm(first_of_each(jobs), desc="Timing a few steps", unit="variant", delay=1):
        timed[replace(job.config, seed=0)] = _times(job.config)
    for job in jobs:
        quick, slow = timed[replace(job.config, seed=0)]
        low, high = low + quick + OVERHEAD[0], high + slow + OVERHEAD[1]
    overhead = f"{OVERHEAD[0]:.0f} to {OVERHEAD[1]:.0f} s a run to start and to measure"
    return Estimate(low, high, f"{STEPS} steps of each variant timed here, and {overhead}")


class _Stopwatch(Callback):
    """Times at which batches of training and of validation ended."""

    def __init__(self) -> None:
        self.ends: dict[str, list[float]] = {"train": [], "val": []}

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends["train"].append(time.perf_counter())

    def on_validation_batch_end(self, *_: Any) -> None:
        self.ends["val"].append(time.perf_counter())

    def steps(self, part: str) -> list[float]:
        """Seconds of each, the first few left out."""
        ends = self.ends[part]
        found = [end - start for start, end in pairwise(ends)]
        return found[WARM:] or found or [0.0]


@quiet_lightning()
def _times(config: TrainingConfig) -> tuple[float, float]:
    """Seconds of a training: if every step were as fast as the lower quartile of those timed, and as the slowest."""
    schedule: dict[str, Any] = {"schedule": "constant", "milestones": (), "warmup": 0.0, "warmup_steps": 0}
    short = replace(config, epochs=1, loggers=(), check_files=False, **schedule)
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), cpu_threads(config.threads):
        experiment = open_experiment(short)
        task = experiment.build_task(experiment.build_network())
        nothing_saved = ModelCheckpoint(folder, save_top_k=0)  # without one, Lightning saves where the user stands
        trainer = build_trainer(short, Path(folder), [watch, nothing_saved])
        trainer.limit_train_batches = trainer.limit_val_batches = WARM + STEPS + 1
        data = RunData(experiment)
        counts = {"train": len(experiment.train_loader(ALONE)), "val": len(experiment.val_loader(ALONE))}
        fit(trainer, task, data, resume=None)
    low = high = 0.0
    for part, count in counts.items():
        steps = sorted(watch.steps(part))
        low += config.epochs * count * steps[len(steps) // 4]
        high += config.epochs * count * steps[-1]
    return low, high


def _variant(config: Mapping[str, Any]) -> str:
    """What tells variants of one training apart."""
    return repr([config[name] for name in BLOCK_FIELDS])


def _alike(row: Row, job: Job) -> bool:
    """Whether a run was trained like a job, its block and seed left aside."""
    ignored = {*BLOCK_FIELDS, *LEFT_OUT, "seed"}

    def kept(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in ignored}

    return row.threads == job.config.threads and kept(row.config) == kept(plain_values(job.config))
