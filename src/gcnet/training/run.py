"""One training of any task, from the configuration to the results, with every interruption in between."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback

from gcnet.training.checkpointing import RunCheckpoint, checkpoint_path, read_checkpoint
from gcnet.training.config import TrainingConfig
from gcnet.training.distributed import RUN_VARIABLE, is_first
from gcnet.training.experiment import Experiment, check_classes, open_experiment
from gcnet.training.loading import ALONE, BrokenSample
from gcnet.training.optimisation import describe_lr
from gcnet.training.progress import RunProgress
from gcnet.training.run_data import RunData
from gcnet.training.run_folder import load_config, locked, run_folder, save_config
from gcnet.training.summary import Meter, closing_lines, write_results
from gcnet.training.task import Task
from gcnet.training.trainer import build_trainer, cpu_threads, fit, quiet_lightning

#: Fields that a run may change when it goes on; all others decide on what is computed.
FREE_ON_RESUME = (
    *("data", "epochs", "check_files", "workers", "on_broken", "precision", "threads"),
    *("save_minutes", "loggers", "out", "weights"),
)


class TrainingStopped(RuntimeError):
    """A training that cannot go on by itself; the message says why, and which checkpoint is whole."""


@quiet_lightning()
def train(config: TrainingConfig, run: Path | None = None, callbacks: Sequence[Callback] = ()) -> Path:
    """Train, validate after every epoch, and save everything in the run's folder.

    Everything is checked before the training starts. In a folder that holds a run already, this goes on from its last
    checkpoint, to the same bits as without the interruption as long as only fields in ``FREE_ON_RESUME`` changed and
    ``epochs`` did not.

    Args:
        config: of any task.
        run: folder to train in; None for a new one below ``config.out``.
        callbacks: of Lightning, besides the run's own.

    Returns:
        The folder: config.json, results.json, curves.png, checkpoints/best.ckpt and last.ckpt, logs/, and what the task
        writes.

    Raises:
        ValueError, FileNotFoundError: naming the field or the file that is wrong.
        TrainingStopped: a loss that is not finite, a sample that cannot be read, a full disk: with the last checkpoint.

    Example:
        >>> from gcnet.recipes.classification import classification
        >>> from gcnet.training.run import train
        >>> train(classification(Path("photos")))  # doctest: +SKIP
    """
    if config.norm == "sync" and not torch.cuda.is_available():
        raise ValueError("norm='sync': batch norms over all processes train on GPUs only; on a CPU, norm='batch'")
    with cpu_threads(config.threads):
        checkpoint = _last_checkpoint(config, run) if run is not None else None
        experiment = open_experiment(config if checkpoint is None else dataclasses.replace(config, weights=None))
        if checkpoint is not None:
            check_classes(experiment, checkpoint["classes"], run)
        seed_everything(config.seed, verbose=False)
        task = experiment.build_task(experiment.build_network())
        experiment.train_loader(ALONE)  # says now, not in the middle, that there is too little data
        run = run_folder(config, run)
        os.environ[RUN_VARIABLE] = str(run)
        try:
            with locked(run):
                if is_first():
                    save_config(run, dataclasses.replace(config, data=config.data.absolute()))  # for any folder
                    print(experiment.summary)
                _train_in(run, config, experiment, task, checkpoint, callbacks)
        finally:
            os.environ.pop(RUN_VARIABLE, None)
    return run


def _train_in(
    run: Path,
    config: TrainingConfig,
    experiment: Experiment[Any, Any],
    task: Task,
    checkpoint: Mapping[str, Any] | None,
    callbacks: Sequence[Callback],
) -> None:
    meter = Meter()
    checkpoints = RunCheckpoint(run / "checkpoints", config.score, config.save_minutes)
    progress = RunProgress(f"{config.backbone}, {config.block}", config.score)
    trainer = build_trainer(config, run, [meter, checkpoints, progress, *callbacks])
    if checkpoint is not None and checkpoint["world"] != trainer.world_size:
        raise ValueError(
            f"devices, nodes: {run} was trained by {checkpoint['world']} processes, these are {trainer.world_size}; "
            "a run goes on with as many, since they decide on what a step sees"
        )
    if trainer.is_global_zero:
        print(describe_lr(config, trainer.world_size))
        if checkpoint is not None:
            print(f"goes on after {len(checkpoint['history'])} of {config.epochs} epochs")
    data = RunData(experiment)
    path = checkpoint_path(run) if checkpoint is not None else None
    try:
        fit(trainer, task, data, resume=path)
        if checkpoint is not None and len(checkpoint["history"]) == config.epochs:
            trainer.validate(task, datamodule=data, verbose=False)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped in epoch {len(task.history) + 1} of {config.epochs}; {_hint(run)}") from None
    except (FloatingPointError, BrokenSample, OSError, torch.OutOfMemoryError) as error:
        raise TrainingStopped(f"{_last_line(error)}; {_hint(run)}") from error
    except Exception as error:
        error.add_note(_hint(run))
        raise
    if trainer.is_global_zero:
        scores = experiment.write_scores(run, task)
        if data.broken:
            scores = {**scores, "broken_samples": data.broken}
            print(f"{len(data.broken)} samples could not be read and were left out, such as: {data.broken[0]}")
        write_results(run, task, meter, scores)
        print(closing_lines(run, task, meter))


def _last_checkpoint(config: TrainingConfig, run: Path) -> Mapping[str, Any] | None:
    """The checkpoint to go on from, None if the run has none yet; raises unless it can go on under ``config``."""
    if not (run / "config.json").exists():
        if run.is_dir() and any(not path.name.startswith(".") for path in run.iterdir()):
            raise ValueError(f"run={run}: holds other files and no run; give a new or empty folder")
        return None
    saved = load_config(run)
    if type(saved) is not type(config):
        raise ValueError(f"run={run}: is a run of {saved.task}, not of {config.task}")
    if not (run / "checkpoints" / "last.ckpt").exists():
        if (run / "results.json").exists():
            raise ValueError(f"run={run}: has results but no checkpoints/last.ckpt to go on from; give a new folder")
        return None
    path = checkpoint_path(run)
    for field in dataclasses.fields(config):
        now, before = getattr(config, field.name), getattr(saved, field.name)
        if now != before and field.name not in FREE_ON_RESUME:
            raise ValueError(
                f"{field.name}={now!r} differs from {before!r} of {run}; to train on with it, start a new run with "
                f"--weights {path}"
            )
    try:
        checkpoint = read_checkpoint(path)
    except ValueError as error:
        best = path.with_name("best.ckpt")
        raise ValueError(
            f"run={run}: {error}; the best epoch may be whole: start a new run with --weights {best}"
        ) from error
    finished = len(checkpoint["history"])
    if finished > config.epochs or (finished == config.epochs and (run / "results.json").exists()):
        raise ValueError(f"epochs={config.epochs}: {run} has finished {finished}; ask for more to go on")
    return checkpoint


def _hint(run: Path) -> str:
    path = run / "checkpoints" / "last.ckpt"
    if not path.exists() and (best := path.with_name("best.ckpt")).exists():
        return f"the first epoch is in {best}, start a new run with --weights {best}"
    if not path.exists():
        return f"there is no checkpoint yet to go on from ({run})"
    return f"the last checkpoint is {path}, go on with --resume {run}"


def _last_line(error: BaseException) -> str:
    """The message; of an error in a process that loads data, the part after its traceback."""
    text = str(error) or type(error).__name__
    if not text.startswith("Caught "):
        return text
    return text.strip().splitlines()[-1].partition(": ")[2]
