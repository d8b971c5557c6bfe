"""Studies and rows without a training."""

from collections.abc import Mapping, Sequence
from typing import Any

from gcnet.ablation.row import Row
from gcnet.ablation.standard import TABLES
from gcnet.ablation.study import Study
from gcnet.ablation.table import Table, Variant


def make_key(variant: str, seed: int) -> str:
    return f"{variant}-{seed}"


def make_table(*names: str, baseline: str | None = None, paper: str = "", **labels: str) -> Table:
    """A table of variants that are called as they are printed, or by ``labels``; the first is the baseline."""
    variants = tuple(Variant(name, labels.get(name, name), {}) for name in names)
    return Table("made", "Made table", variants, baseline=baseline or names[0], paper=paper)


def make_study(table: Table | str, seeds: Mapping[str, Sequence[int]] | Sequence[int], **fields: Any) -> Study:
    """A study of a table, or of a standard one by name, with seeds for all or by variant."""
    table = TABLES[table] if isinstance(table, str) else table
    by_variant = seeds if isinstance(seeds, Mapping) else {variant.name: seeds for variant in table.variants}
    values: dict[str, Any] = {
        "name": f"{table.name}-classification-1f2e3d4c",
        "task": "classification",
        "base": {},
        "data": "d1",
        "about": "made scenes, resnet20_w16",
        "command": f"gcnet ablate {table.name} --task classification --seeds 5",
        **fields,
    }
    keys = {name: {seed: make_key(name, seed) for seed in each} for name, each in by_variant.items()}
    return Study(table=table, keys=keys, **values)


def make_row(variant: str, seed: int, score: float = 0.9, **fields: Any) -> Row:
    """One finished run; ``metrics`` as given, or the score as val_top1."""
    values: dict[str, Any] = {
        "task": "classification",
        "config": {"task": "classification", "block": "gc"},
        "threads": 1,
        "sources": "s1",
        "data": "d1",
        "score": "val_top1",
        "metrics": {"val_top1": score, "val_loss": 1 - score, "best": score},
        "parameters": 700_000,
        "added_parameters": 0,
        "macs": 12_000_000,
        "input_shape": (1, 3, 64, 64),
        "latency_ms": 2.0,
        "latency_ratio": (0.98, 1.0, 1.03),
        "memory_mb": 900.0,
        "seconds": 60.0,
        "versions": {"gcnet": "0.1.0", "torch": "2.11.0"},
        "hardware": {"device": "a processor", "cores": 2, "machine": "x86_64"},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:01:00+00:00",
        **fields,
    }
    return Row(key=make_key(variant, seed), seed=seed, **values)


def make_rows(scores: Mapping[str, Sequence[float] | Mapping[int, float]], **fields: Any) -> dict[str, Row]:
    """Rows by key: variant -> scores of the seeds from 0 on, or by seed."""
    rows = {}
    for variant, values in scores.items():
        by_seed = values if isinstance(values, Mapping) else dict(enumerate(values))
        for seed, score in by_seed.items():
            row = make_row(variant, seed, score, **fields)
            rows[row.key] = row
    return rows
