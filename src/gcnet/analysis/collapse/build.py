"""The block that takes the place of a non-local one, with the weights that what was observed of that one suggests."""

from __future__ import annotations

import copy

import torch

from gcnet.analysis.collapse.fit import fit_key
from gcnet.analysis.collapse.merge import (
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
from gcnet.blocks.base import hidden_width
from gcnet.ops.affinity.subsample import max_subsample

#: Hidden width / channels of a GC block, the paper's r16.
RATIO = 1 / 16


def merged_block(observed: Observed, to: str, ratio: float | None, kept: float | None) -> Pooled:
    """An SNL or GC block in float64 on the CPU.

    Args:
        observed: of the non-local block.
        to: ``"snl"`` or ``"gc"``.
        ratio: hidden width / channels of GC.
        kept: share of the variance that GC keeps, instead of ``ratio``.
    """
    block = copy.deepcopy(observed.block).to("cpu", torch.float64)
    batches = observed.batches
    if block.pairwise in ("gaussian", "embedded_gaussian"):
        key, total = query_key(block, observed.of("query").mean(0)), 1.0
    else:
        features = [batch.features.double() for batch in batches]
        if block.subsample is not None:
            features = [max_subsample(x, block.subsample_size) for x in features]
        key, total = fit_key([x.flatten(2) for x in features], [batch.row for batch in batches])
    transform = merged_transform(block, total)
    if to == "snl":
        return simplified(key, transform)
    contexts = torch.cat([pool(key, batch.features.double()) for batch in batches])
    if kept is None:
        hidden = hidden_width(block.channels, ratio or RATIO, None)
    else:
        hidden = rank_of(transform, contexts, kept)
    return global_context(key, low_rank(transform, hidden, contexts))
