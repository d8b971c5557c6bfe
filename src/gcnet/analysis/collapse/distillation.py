"""Training a collapsed block to give what the original gave on average over the queries."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from gcnet.analysis.collapse.merge import Pooled, pooled_output
from gcnet.analysis.collapse.observe import Batch, Observed

#: One in so many images is not trained on, but chooses between before and after.
HELD_OUT = 5


def distilled(block: Pooled, observed: Observed, steps: int, *, lr: float = 1e-3, seed: int = 0) -> Pooled:
    """A copy of ``block`` trained to give what the original gave, or ``block`` itself where that is no better.

    The target of an image is the original's mean output over its positions; the squared error to the outputs of all
    positions is larger by a constant. AdamW, its rate falling as a cosine, one batch per step. Every fifth image is
    kept from training and decides what is better; with fewer than five, all do both.

    Args:
        block: in float64.
        observed: inputs and outputs of the original.
        steps: of the optimizer.
        lr: its rate at the start.
        seed: of the order of the batches; the same seed gives the same weights on one machine.
    """
    trained, held = _split(observed.batches)
    student = copy.deepcopy(block).requires_grad_(True)
    scale = observed.of("output").square().sum(1).mean().clamp(min=torch.finfo(torch.float64).tiny)
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for _ in range(steps):
        order = order or torch.randperm(len(trained), generator=generator).tolist()
        features, output = trained[order.pop()]
        with torch.enable_grad():
            error = (pooled_output(student, features) - output).square().sum(1).mean()
            optimizer.zero_grad()
            (error / scale).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        before, after = (sum(_missed(f, *pair) for pair in held) for f in (block, student))
    return student if after < before else block


def _missed(block: Pooled, features: Tensor, output: Tensor) -> float:
    return float((pooled_output(block, features) - output).square().sum())


def _split(batches: Sequence[Batch]) -> tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Features and mean outputs of the images to train on, and of those held out."""
    trained: list[tuple[Tensor, Tensor]] = []
    held: list[tuple[Tensor, Tensor]] = []
    count = 0
    for batch in batches:
        number = torch.arange(count, count + len(batch.output))
        count += len(number)
        aside = number % HELD_OUT == HELD_OUT - 1
        for chosen, pairs in ((~aside, trained), (aside, held)):
            if chosen.any():
                pairs.append((batch.features[chosen], batch.output[chosen]))
    return trained, held or trained
