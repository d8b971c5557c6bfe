"""Training a collapsed block to give what the original gave on average over the queries."""

from __future__ import annotations

import copy

import torch

from gcnet.analysis.collapse.merge import Pooled, pooled_output
from gcnet.analysis.collapse.observe import Observed


def distilled(
    block: Pooled, learned: Observed, judged: Observed, steps: int, *, lr: float = 1e-3, seed: int = 0
) -> Pooled:
    """A copy of ``block`` trained to give what the original gave, or ``block`` itself where that is no better.

    The target of an image is the original's mean output over its positions; the squared error to the outputs of all
    positions is larger by a constant. AdamW, its rate falling as a cosine, one batch per step. The rate is relative to
    the size of the weights, so that it suits blocks of any scale; a bias that is zero, which a key and a bottleneck
    without norm do not need, stays zero.

    Args:
        block: in float64.
        learned: inputs and outputs of the original, to train on.
        judged: others, which decide what is better.
        steps: of the optimizer.
        lr: its rate at the start, in units of the root mean square of each tensor.
        seed: of the order of the batches; the same seed gives the same weights on one machine.
    """
    student = copy.deepcopy(block).requires_grad_(True)
    scale = learned.of("output").square().sum(1).mean().clamp(min=torch.finfo(torch.float64).tiny)
    rates = [(weights, lr * float(weights.detach().square().mean().sqrt())) for weights in student.parameters()]
    optimizer = torch.optim.AdamW([{"params": [weights], "lr": rate} for weights, rate in rates])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []
    for _ in range(steps):
        order = order or torch.randperm(len(learned.batches), generator=generator).tolist()
        batch = learned.batches[order.pop()]
        with torch.enable_grad():
            error = (pooled_output(student, batch.features) - batch.output).square().sum(1).mean()
            optimizer.zero_grad()
            (error / scale).backward()
        optimizer.step()
        schedule.step()
    return student if judged.error_of(student) < judged.error_of(block) else block
