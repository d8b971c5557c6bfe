"""A table over a few tiny photos, and rows of its runs without a training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcnet.ablation.bases import Base
from gcnet.ablation.identity import plain_values
from gcnet.ablation.job import Job
from gcnet.ablation.plan import Plan, make_plan
from gcnet.ablation.row import Row
from gcnet.ablation.table import Table, Variant, without_block
from gcnet.recipes.classification import classification
from gcnet.training.config import TrainingConfig

TABLE = Table(
    "gates",
    "Gates",
    (
        Variant("none", "none", {"block": "none"}),
        Variant("gc", "GC", {"block": "gc", "match": ("layer3.0",), "position": "after_block"}),
        Variant("se", "SE", {"block": "se", "match": ("layer3.0",), "position": "after_block"}),
    ),
    baseline="none",
)


def photos(folder: Path) -> Path:
    """Twelve pictures of two classes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 255, (36, 36, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


def config(data: Path, **fields: Any) -> TrainingConfig:
    small = {"backbone": "timm:test_resnet", "image_size": 32, "epochs": 1, "batch_size": 4, "workers": 0, "threads": 1}
    return replace(without_block(classification(data)), loggers=(), **{**small, **fields})


def plan(folder: Path, table: Table = TABLE, seeds=(0, 1), chosen=(), **fields: Any) -> Plan:
    data = folder / "photos"
    if not data.exists():
        photos(data)
    return make_plan(table, Base(config(data, **fields), None), seeds=seeds, out=folder / "runs", chosen=chosen)


def row(job: Job, **fields: Any) -> Row:
    values = {
        "key": job.key,
        "task": job.config.task,
        "config": plain_values(job.config),
        "seed": job.config.seed,
        "threads": job.config.threads,
        "sources": job.sources,
        "data": job.data,
        "score": job.config.score,
        "metrics": {job.config.score: 0.5 + 0.01 * job.config.seed, "best": 0.6},
        "parameters": 1000,
        "added_parameters": 0 if job.config.block == "none" else 10,
        "macs": 5000,
        "input_shape": (1, 3, 32, 32),
        "latency_ms": 1.0,
        "latency_ratio": (0.9, 1.0, 1.1),
        "memory_mb": 300.0,
        "seconds": 20.0,
        "versions": {"gcnet": "0", "torch": "0"},
        "hardware": {"device": "none", "cores": 1, "machine": "none"},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:00:30+00:00",
        "folder": str(job.folder),
    }
    return Row(**{**values, **fields})
