"""Score a trained network again, and use it on new files."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from gcnet.training.checkpointing import checkpoint_path, read_checkpoint
from gcnet.training.config import TrainingConfig
from gcnet.training.distributed import is_first
from gcnet.training.experiment import Experiment, check_classes, open_experiment
from gcnet.training.run_data import RunData
from gcnet.training.run_folder import new_run_folder, save_json
from gcnet.training.task import Task
from gcnet.training.trainer import build_trainer, cpu_threads, quiet_lightning


@quiet_lightning()
def evaluate(run: Path, config: TrainingConfig, checkpoint: str = "best") -> dict[str, float]:
    """Score the network of a run on the validation samples of ``config.data``.

    Args:
        run: its folder.
        config: the run's own (:func:`gcnet.training.run_folder.load_config`), with other data or other settings of the
            evaluation where wanted.
        checkpoint: ``"best"`` or ``"last"``.

    Returns:
        The scores. They are also in ``<run>/evaluations/<number>/evaluation.json``, with pictures and tables.

    Raises:
        ValueError, FileNotFoundError: no such run or checkpoint; data of other classes.

    Example:
        >>> from gcnet.training.run_folder import load_config
        >>> run = Path("runs/classification/001")
        >>> evaluate(run, load_config(run))["val_top1"]  # doctest: +SKIP
        0.953
    """
    with cpu_threads(config.threads):
        saved = read_checkpoint(checkpoint_path(run, checkpoint))
        experiment = open_experiment(dataclasses.replace(config, weights=None))
        check_classes(experiment, saved["classes"], run)
        task = trained_task(experiment, saved)
        folder = new_run_folder(run / "evaluations") if is_first() else run
        trainer = build_trainer(dataclasses.replace(config, loggers=(), ema=None), folder, [])
        data = RunData(experiment)
        scores = {
            name: float(value) for name, value in trainer.validate(task, datamodule=data, verbose=False)[0].items()
        }
        if trainer.is_global_zero:
            written = experiment.write_scores(folder, task)
            content = {"checkpoint": checkpoint, "scores": scores, **written, "broken_samples": data.broken}
            save_json(folder / "evaluation.json", {**content, "config": dataclasses.asdict(config)})
            print(experiment.summary)
            print("\n".join(f"{name} {value:.4f}" for name, value in scores.items()))
            print(f"everything is in {folder}")
    return scores


@quiet_lightning()
def predict(
    run: Path, config: TrainingConfig, inputs: Sequence[Path], out: Path | None = None, checkpoint: str = "best"
) -> Path:
    """Use the network of a run on files; its training data is not needed.

    Args:
        run: its folder.
        config: the run's own, with other settings of the prediction where wanted.
        inputs: files, or folders of them.
        out: folder for predictions.json and pictures; None for a new one below ``<run>/predictions``.
        checkpoint: ``"best"`` or ``"last"``.

    Returns:
        The path of predictions.json.

    Raises:
        ValueError, FileNotFoundError: no such run or checkpoint; a file that is missing or cannot be read.

    Example:
        >>> from gcnet.training.run_folder import load_config
        >>> run = Path("runs/classification/001")
        >>> predict(run, load_config(run), [Path("new_photos")])  # doctest: +SKIP
        PosixPath('runs/classification/001/predictions/001/predictions.json')
    """
    if not inputs:
        raise ValueError("inputs: give at least one file or folder")
    missing = [path for path in inputs if not path.exists()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such file or folder")
    with cpu_threads(config.threads):
        saved = read_checkpoint(checkpoint_path(run, checkpoint))
        experiment = open_experiment(dataclasses.replace(config, weights=None), saved["classes"])
        task = trained_task(experiment, saved).to("cuda" if torch.cuda.is_available() else "cpu")
        if out is None:
            out = new_run_folder(run / "predictions")
        out.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode():
            path = experiment.predict(task, inputs, out)
    print(f"predictions and pictures are in {out}")
    return path


def trained_task(experiment: Experiment[Any, Any], checkpoint: Any) -> Task:
    """The task of a run with the weights of a checkpoint, in eval mode.

    Raises:
        ValueError: weights of another network than the configuration says.

    Example:
        >>> saved = read_checkpoint(checkpoint_path(Path("runs/classification/001")))  # doctest: +SKIP
        >>> trained_task(experiment, saved).net  # doctest: +SKIP
    """
    with redirect_stdout(io.StringIO()):  # where blocks went was said when they were trained
        task = experiment.build_task(experiment.build_network())
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        difference = str(error).splitlines()[1].strip()
        raise ValueError(
            "the network is not the one of the checkpoint; leave backbone, block, stages and so on as "
            f"in the run's config.json ({difference:.120}...)"
        ) from error
    return task.eval()
