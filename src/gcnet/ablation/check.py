"""The data and every network of a plan are looked at before anything trains, so that a mistake shows at once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace

from gcnet.ablation.job import Job
from gcnet.training.config import TrainingConfig
from gcnet.training.experiment import open_experiment
from gcnet.training.loading import ALONE


def describe(config: TrainingConfig, scenes: bool) -> str:
    """Data, network and length of the training in a line.

    Args:
        config: what all variants share; its data is there.
        scenes: the data was made.

    Raises:
        ValueError, FileNotFoundError: data that does not fit the task.
    """
    with redirect_stdout(io.StringIO()):
        summary = open_experiment(replace(config, check_files=False)).summary.partition("; ")[0]
    data = "context scenes" if scenes else config.data.name
    return f"{data}, {summary}; {config.backbone}, {config.epochs} epochs, batches of {config.batch_size}"


def check_jobs(jobs: Sequence[Job]) -> None:
    """Look at the data once, and build the network of every variant.

    Args:
        jobs: to run; of each variant, the first is built.

    Raises:
        ValueError, FileNotFoundError: naming the variant, and the field or the file that is wrong.

    Example:
        >>> check_jobs(())
    """
    classes: tuple[str, ...] | None = None
    for job in first_of_each(jobs):
        try:
            with redirect_stdout(io.StringIO()):
                experiment = open_experiment(job.config, classes)
                experiment.build_network()
                if classes is None:
                    experiment.train_loader(ALONE)
        except ValueError as error:
            raise ValueError(f"{job.label}: {error}") from error
        classes = experiment.classes


def first_of_each(jobs: Sequence[Job]) -> list[Job]:
    """One job of every variant: those that differ in more than the seed.

    Example:
        >>> first_of_each(())
        []
    """
    first: dict[TrainingConfig, Job] = {}
    for job in jobs:
        first.setdefault(replace(job.config, seed=0), job)
    return list(first.values())
