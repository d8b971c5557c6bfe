"""Runs of every task as a training leaves them, without a training."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcnet.recipes.classification import classification
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.config import TrainingConfig
from gcnet.training.experiment import open_experiment
from gcnet.training.run_folder import save_config


def photo_config(folder: Path, **fields: Any) -> ClassificationConfig:
    """A tiny network with an NL block over small photos."""
    options = {"backbone": "timm:test_resnet", "image_size": 32, "block": "nl", "ratio": None, "stages": (), **fields}
    return dataclasses.replace(
        classification(folder),
        match=("layer3.0",),
        position="after_block",
        block_options=("pairwise=gaussian",),
        **options,
    )


def save_run(run: Path, config: TrainingConfig, classes: tuple[str, ...] = ("cat", "dog")) -> nn.Module:
    """Write config.json and checkpoints of a network with random weights; return the network."""
    torch.manual_seed(0)
    experiment = open_experiment(config, classes)
    task = experiment.build_task(experiment.build_network()).eval()
    for name, parameter in task.named_parameters():
        if "context_block" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    empty = ("optimizer_states", "loops", "RunData", "history", "sums", "world")
    checkpoint = {**dict.fromkeys(empty), "state_dict": task.state_dict(), "classes": classes}
    (run / "checkpoints").mkdir(parents=True)
    save_config(run, config)
    for name in ("best", "last"):
        torch.save(checkpoint, run / "checkpoints" / f"{name}.ckpt")
    return task.net
