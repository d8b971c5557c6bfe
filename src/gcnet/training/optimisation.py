"""Optimizer, learning rate and its schedule, as a configuration names them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from gcnet.insertion import param_groups
from gcnet.training.config import TrainingConfig


def optimizer_and_schedule(net: nn.Module, config: TrainingConfig, *, steps: int, world: int = 1) -> dict[str, Any]:
    """Optimizer and per-step schedule in Lightning's form.

    Args:
        net: its trainable parameters; those of inserted blocks have groups of their own.
        config: of the training.
        steps: of the whole training.
        world: processes that train together.
    """
    scale = lr_scale(config, world)
    groups = param_groups(
        net, config.lr * scale, None if config.added_lr is None else config.added_lr * scale, config.weight_decay
    )
    if config.decay_all:
        groups = [{**group, "weight_decay": config.weight_decay} for group in groups]
    optimizer: torch.optim.Optimizer
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            groups, lr=config.lr * scale, momentum=config.momentum, nesterov=config.nesterov and config.momentum > 0
        )
    else:
        optimizer = torch.optim.AdamW(groups, lr=config.lr * scale)
    per_epoch = steps / config.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(config, step, per_epoch))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def samples_per_step(config: TrainingConfig, world: int = 1) -> int:
    """Samples that one step of the optimizer sees, over all processes."""
    return config.batch_size * config.accumulate * world


def lr_scale(config: TrainingConfig, world: int = 1) -> float:
    """Factor of the learning rate: samples per step over the number it is meant for."""
    return samples_per_step(config, world) / config.lr_batch if config.lr_batch else 1.0


def describe_lr(config: TrainingConfig, world: int = 1) -> str:
    """One line: the learning rate and how it came about.

    Example:
        >>> from gcnet.recipes.classification import classification
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> describe_lr(replace(classification(Path("photos")), lr=0.1, lr_batch=256, batch_size=32))
        'learning rate 0.0125: 0.1 for 256 samples per step, scaled to 32'
    """
    scale = lr_scale(config, world)
    text = f"learning rate {config.lr * scale:g}"
    if config.added_lr is not None:
        text += f" (blocks {config.added_lr * scale:g})"
    samples = samples_per_step(config, world)
    if config.lr_batch is None:
        return f"{text}, {samples} samples per step"
    return f"{text}: {config.lr:g} for {config.lr_batch} samples per step, scaled to {samples}"


def lr_factor(config: TrainingConfig, step: int, per_epoch: float) -> float:
    """Factor of the learning rate at ``step``: a linear warm-up, then a cosine or a power to 0, steps, or 1.

    Steps are counted from the first one; cosine and power span what the warm-up leaves.

    Args:
        config: schedule and warm-up.
        step: from 0.
        per_epoch: steps per epoch.
    """
    rising = config.warmup_steps or round(config.warmup * per_epoch)
    if step < rising:
        return config.warmup_start + (1 - config.warmup_start) * (step + 1) / rising
    done = min(1.0, (step - rising) / max(1.0, config.epochs * per_epoch - rising))
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if config.schedule == "poly":
        return (1 - done) ** 0.9
    if config.schedule == "steps":
        return config.gamma ** sum(step >= round(milestone * per_epoch) for milestone in config.milestones)
    return 1.0
