"""How much a block depends on the query: of the picture on the page, and as a run was audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from gcnet.analysis.capture import Captured
from gcnet.analysis.query_dependence import CosineDistance, estimate_jensen_shannon

CHUNK = 2**22  # weights laid out at a time


@torch.inference_mode()
def distances(record: Captured) -> dict[str, float | None]:
    """Average cosine distance between the positions of input, output and attention, and divergence of its rows.

    Of a pooled block, output and attention are the same for all positions; of what is no distribution, and of an
    attention without any direction, there is no number. Heads are averaged.
    """
    found = {"input": _of_features(record.input, record), "output": 0.0, "attention": 0.0, "divergence": 0.0}
    if record.pooled:
        return found
    queries, keys = record.positions, record.rows([0]).shape[-1]
    attention = CosineDistance()
    for some in torch.arange(queries).split(max(1, CHUNK // (keys * record.heads))):
        attention.add(record.rows(some))
    found["output"] = _of_features(record.output, record)
    found["attention"] = _number(attention.distance())
    found["divergence"] = _number(estimate_jensen_shannon(record.rows, queries).mean) if record.softmax else None
    return found


def newest_audit(run: Path | None, block: str) -> dict[str, Any] | None:
    """What the newest ``audits/*/audit.json`` of a run says of a block; None where there is none."""
    reports = sorted((run / "audits").glob("*/audit.json")) if run else []
    if not reports:
        return None
    content = json.loads(reports[-1].read_text())
    return next((entry for entry in content["blocks"] if entry["path"] == block), None)


def _of_features(features: torch.Tensor, record: Captured) -> float | None:
    """[1, C, *size], or tokens [1, L, C] of a transformer."""
    distance = CosineDistance()
    distance.add(features if record.kind == "attention" else features.flatten(2).mT)
    return _number(distance.distance())


def _number(values: torch.Tensor) -> float | None:
    mean = values.nanmean().item()
    return None if mean != mean else mean
