"""``gcnet ablate list``: the tables in words."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table as Rows

from gcnet.ablation.bases import base_of
from gcnet.ablation.reading import is_file, read_table
from gcnet.ablation.standard import TABLES
from gcnet.ablation.table import Table
from gcnet.training.config import TASKS

PROGRAM = "gcnet ablate list"


@dataclass(frozen=True)
class Arguments:
    """List the tables of the paper, or show one, or that of a file, in detail."""

    table: tyro.conf.Positional[str] = ""
    """Name, or a .yaml or .py file; all by default."""
    json: bool = False
    """Print JSON."""


def find_table(name: str) -> Table:
    """A table of the paper.

    Raises:
        ValueError: there is none of that name, with the nearest.

    Example:
        >>> find_table("ratio").title
        'Bottleneck ratio'
        >>> find_table("ration")
        Traceback (most recent call last):
        ValueError: there is no table 'ration'; did you mean 'ratio'? ...
    """
    if name not in TABLES:
        near = difflib.get_close_matches(name, TABLES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"there is no table {name!r}; {hint}gcnet ablate list shows all; your own is a .yaml or .py file"
        )
    return TABLES[name]


def list_tables(argv: list[str]) -> None:
    """Print all tables, or one in detail.

    Args:
        argv: ``[TABLE] [--json]``.

    Raises:
        ValueError: an unknown table, or a file that is wrong.

    Example:
        >>> list_tables(["ratio"])
        ratio: Bottleneck ratio
        ...
    """
    arguments = tyro.cli(Arguments, args=argv, prog=PROGRAM, config=(tyro.conf.FlagCreatePairsOff,))
    name = arguments.table
    tables = (
        list(TABLES.values()) if not name else [read_table(Path(name)).table if is_file(name) else find_table(name)]
    )
    if arguments.json:
        entries = [_entry(table) for table in tables]
        print(json.dumps(entries[0] if name else entries, indent=2))
    elif name:
        _show(tables[0])
    else:
        _list(tables)


def _entry(table: Table) -> dict[str, Any]:
    variants = [{"name": each.name, "label": each.label, "changes": dict(each.changes)} for each in table.variants]
    names = ("name", "title", "baseline", "note")
    return {name: getattr(table, name) for name in names} | {"variants": variants}


def _list(tables: list[Table]) -> None:
    rows = Rows("table", "compares", "variants", box=box.SIMPLE_HEAD, pad_edge=False)
    for table in tables:
        rows.add_row(table.name, table.title, ", ".join(variant.name for variant in table.variants))
    _print(rows)
    print("gcnet ablate list TABLE shows one in detail, gcnet ablate TABLE --dry-run what it would run")


def _show(table: Table) -> None:
    print(f"{table.name}: {table.title}")
    if table.note:
        print(table.note)
    rows = Rows("variant", "in the report", "differs from the plain network in", box=box.SIMPLE_HEAD, pad_edge=False)
    for each in table.variants:
        named = f"{each.name} (baseline)" if each.name == table.baseline else each.name
        rows.add_row(named, each.label, in_words(each.changes))
    _print(rows)
    rows = Rows("task", "plain network", "context scenes", "training", "score", box=box.SIMPLE_HEAD, pad_edge=False)
    for task in TASKS:
        config, scenes = base_of(task)
        counts = f"{scenes.train} to train on, {scenes.val} to validate" if scenes else ""
        length = f"{config.epochs} epochs, batches of {config.batch_size}"
        rows.add_row(task, config.backbone, counts, length, config.score)
    _print(rows)


def in_words(changes: Mapping[str, Any]) -> str:
    """Fields that are different.

    Example:
        >>> in_words({"block": "gc", "ratio": 1 / 16, "stages": ("c4", "c5")})
        'block gc, ratio 1/16, stages c4 c5'
        >>> in_words({"block": "none"})
        'nothing'
    """
    said = [f"{name} {_text(value)}" for name, value in changes.items() if value not in (None, "none", ())]
    return ", ".join(said) or "nothing"


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    if isinstance(value, float):
        fraction = Fraction(value).limit_denominator(64)
        return str(fraction) if 0 < value < 1 and float(fraction) == value else f"{value:g}"
    return str(value)


def _print(rows: Rows) -> None:
    """As wide as it takes where there is no terminal."""
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(rows, markup=False)
