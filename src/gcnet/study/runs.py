"""Networks of runs as subjects: they see pictures as in the validation of the run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from gcnet.study.sight import by_detector, clip, cropped, whole
from gcnet.study.subject import Sight, Subject
from gcnet.training.checkpointing import checkpoint_path, read_checkpoint
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.transforms import val_transform
from gcnet.training.config import TrainingConfig
from gcnet.training.evaluate import trained_task
from gcnet.training.experiment import open_experiment
from gcnet.training.images import MEAN, STD
from gcnet.training.run_folder import load_config
from gcnet.training.segmentation.config import SegmentationConfig
from gcnet.training.video.config import VideoConfig


def open_run(run: Path, checkpoint: str = "best") -> Subject:
    """The network of a run of any task, with its best or last weights.

    Raises:
        ValueError, FileNotFoundError: no such run or checkpoint.
    """
    config = load_config(run)
    saved = read_checkpoint(checkpoint_path(run, checkpoint))
    experiment = open_experiment(dataclasses.replace(config, weights=None), saved["classes"])
    return subject_of(str(run), trained_task(experiment, saved).net, run, config, tuple(saved["classes"]))


def subject_of(name: str, net: nn.Module, run: Path, config: TrainingConfig, classes: tuple[str, ...]) -> Subject:
    """A network that sees pictures as a run does.

    Args:
        name: of the subject.
        net: of the run, or one made out of it; put into eval mode.
        run: its folder.
        config: of the run.
        classes: of the run.
    """
    detector = config.task == "detection"
    return Subject(
        name,
        net.eval(),
        _sight(config, net),
        net.backbone if detector else net,  # type: ignore[arg-type]
        kind="video" if config.task == "video" else "image",
        classes=classes if config.task in ("classification", "video") else (),
        run=run,
        data=config.data,
    )


def run_of(path: Path) -> Path | None:
    """The run in whose folder a file lies, at any depth; None if in none.

    Example:
        >>> run = getfixture("tmp_path")
        >>> _ = (run / "config.json").write_text("{}")
        >>> (run / "checkpoints").mkdir()
        >>> run_of(run / "collapsed" / "001" / "model.safetensors") == run, run_of(Path("model.safetensors"))
        (True, None)
    """
    return next((folder for folder in path.absolute().parents if _is_run(folder)), None)


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "checkpoints").is_dir()


def _sight(config: TrainingConfig, net: Any) -> Sight:
    if isinstance(config, ClassificationConfig):
        return cropped(val_transform(config), MEAN, STD)
    if isinstance(config, SegmentationConfig):
        return whole(config.resize, config.mean, config.std)
    if isinstance(config, VideoConfig):
        return clip(config)
    return by_detector(net)
