"""Rows and studies without training, and processes that write them."""

import dataclasses
import os
import signal
from typing import Any

from gcnet.ablation.row import Row
from gcnet.ablation.store import Store
from gcnet.ablation.store.schema import runs, values_of
from gcnet.ablation.study import Study
from gcnet.ablation.table import Table, Variant


def make_row(key: str = "0123456789abcdef", **fields: Any) -> Row:
    values = {
        "task": "classification",
        "config": {"task": "classification", "lr": 0.1, "stages": ["c3", "c4"], "ratio": None},
        "seed": 3,
        "threads": 1,
        "sources": "5" * 16,
        "data": "d" * 16,
        "score": "val_top1",
        "metrics": {"val_top1": 0.875, "val_loss": 0.25, "best": 0.9},
        "parameters": 25_557_032,
        "added_parameters": 2_541_000,
        "macs": 4_100_000_000_000,
        "input_shape": (1, 3, 224, 224),
        "latency_ms": 12.5,
        "latency_ratio": (1.01, 1.02, 1.04),
        "memory_mb": 812.0,
        "seconds": 61.5,
        "versions": {"gcnet": "0.1.0", "torch": "2.11.0"},
        "hardware": {"device": "cpu", "cores": 2},
        "started": "2026-11-29T10:00:00+00:00",
        "finished": "2026-11-29T10:01:01+00:00",
        "folder": "runs/ablation/0123456789abcdef",
        **fields,
    }
    return Row(key=key, **values)


TABLE = Table(
    "block",
    "Block design",
    (Variant("none", "none", {"block": "none"}), Variant("all-gc", "+ all GC", {"stages": ("c3", "c4")})),
    baseline="none",
)


def make_study(name: str = "block-classification-1f2e", *, seeds: tuple[int, ...] = (0,), **fields: Any) -> Study:
    values = {
        "table": TABLE,
        "task": "classification",
        "base": {"task": "classification", "lr": 0.1},
        "data": "d" * 16,
        "about": "context scenes, ResNet-18",
        "command": "gcnet ablate block",
        "keys": {variant.name: {seed: run_name(variant.name, seed) for seed in seeds} for variant in TABLE.variants},
        **fields,
    }
    return Study(name=name, **values)


def run_name(variant: str, seed: int) -> str:
    return f"{variant}-{seed}"


def drive(place: str, driver: int, drivers: int, count: int) -> None:
    """What a driver does: study, runs of its own and some that all have, a seed at a time."""
    for seed in range(driver, count, drivers):
        with Store(place) as store:
            store.save_study(make_study(seeds=(seed,)))
            for variant in TABLE.variants:
                store.fail(run_name(variant.name, seed), "the worker died")
                store.add(make_row(run_name(variant.name, seed), seed=seed))
            store.add(make_row("shared"))


def add_forever(place: str, name: str) -> None:
    """Add long rows until killed."""
    store = Store(place)
    for number in range(10**6):
        store.add(long_row(f"{name}-{number}"))


def long_row(key: str) -> Row:
    return dataclasses.replace(make_row(key), config={"lines": ["x" * 1000] * 100})


def die_while_writing(place: str) -> None:
    """End by SIGKILL in a transaction whose pages are on disk already."""
    store = Store(place)
    with store._database.writing() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA cache_size = 1")
        for number in range(50):
            connection.execute(runs.insert().values(values_of(long_row(f"half-{number}"))))
        os.kill(os.getpid(), signal.SIGKILL)
