"""The network of a run as a subject: it sees pictures as in its validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PIL import Image
from torch import nn

from gcnet.study.networks import denormalised
from gcnet.study.subject import Subject, View
from gcnet.training.checkpointing import checkpoint_path, read_checkpoint
from gcnet.training.evaluate import trained_task
from gcnet.training.experiment import open_experiment
from gcnet.training.images import MEAN, STD, read_image
from gcnet.training.run_folder import load_config


def open_run(run: Path, checkpoint: str = "best") -> Subject:
    """The network of a run, with its best or last weights.

    Raises:
        ValueError, FileNotFoundError: no such run or checkpoint.
    """
    from gcnet.training.classification.transforms import val_transform

    config = load_config(run)
    saved = read_checkpoint(checkpoint_path(run, checkpoint))
    experiment = open_experiment(dataclasses.replace(config, weights=None), saved["classes"])
    task = trained_task(experiment, saved)
    transform = val_transform(config)  # type: ignore[arg-type]

    def see(source: Path | Image.Image) -> View:
        picture = source if isinstance(source, Image.Image) else read_image(source)
        inputs = transform(picture)
        return View(getattr(source, "name", "picture"), inputs, denormalised(inputs, MEAN, STD))

    net: nn.Module = task.net
    return Subject(str(run), net, see, net, classes=tuple(saved["classes"]), run=run, data=config.data)
