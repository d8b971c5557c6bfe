"""The block that takes the place of a non-local one, with the weights that what was observed of that one suggests."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from gcnet.analysis.collapse.fit import fit_key
from gcnet.analysis.collapse.merge import (
    Linear,
    Pooled,
    global_context,
    low_rank,
    merged_transform,
    pool,
    query_key,
    rank_of,
    simplified,
)
from gcnet.analysis.collapse.observe import Observed
from gcnet.blocks import NonLocal
from gcnet.blocks.base import hidden_width
from gcnet.ops.affinity.subsample import max_subsample

#: Hidden width / channels of a GC block, the paper's r16.
RATIO = 1 / 16


def merged_block(learned: Observed, judged: Observed, to: str, ratio: float | None, kept: float | None) -> Pooled:
    """An SNL or GC block in float64 on the CPU.

    Its key is that of the average query, or the one fitted to the mean maps of the images, whichever leaves the smaller
    error on other images; functions without a softmax have the fitted one only.

    Args:
        learned: what was observed of the non-local block.
        judged: the same of other images.
        to: ``"snl"`` or ``"gc"``.
        ratio: hidden width / channels of GC.
        kept: share of the variance that GC keeps, instead of ``ratio``.
    """
    block = copy.deepcopy(learned.block).to("cpu", torch.float64)
    candidates = [simplified(key, merged_transform(block, total)) for key, total in _keys(block, learned)]
    snl = min(candidates, key=judged.error_of)
    if to == "snl":
        return snl
    key, transform = snl.key.weight.detach()[0], Linear(snl.value.weight.detach(), snl.value.bias.detach())
    contexts = torch.cat([pool(key, batch.features.double()) for batch in learned.batches])
    if kept is None:
        hidden = hidden_width(block.channels, ratio or RATIO, None)
    else:
        hidden = rank_of(transform, contexts, kept)
    return global_context(key, low_rank(transform, hidden, contexts))


def _keys(block: NonLocal, observed: Observed) -> Iterator[tuple[Tensor, float]]:
    """Keys to try, and the sum of a row's weights that goes with each."""
    features = [batch.features.double() for batch in observed.batches]
    if block.subsample is not None:
        features = [max_subsample(x, block.subsample_size) for x in features]
    fitted, total = fit_key([x.flatten(2) for x in features], [batch.row for batch in observed.batches])
    if block.pairwise in ("gaussian", "embedded_gaussian"):
        yield query_key(block, observed.of("query").mean(0)), 1.0
        yield fitted, 1.0
    else:
        yield fitted, total
