"""``gcnet recipes``: what can be trained by name, and every field of one recipe."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from gcnet.recipes import table
from gcnet.recipes.parsing import guarded
from gcnet.recipes.table import Recipe, find_recipe

DATA = Path("DATA")


@dataclass(frozen=True)
class Arguments:
    """List the recipes that gcnet train knows, or show all fields of one."""

    name: tyro.conf.Positional[str] = ""
    """Of a recipe; all by default."""
    json: bool = False
    """Print JSON."""


def recipes(argv: list[str]) -> int:
    """Run ``gcnet recipes [NAME] [--json]``; print the result.

    Returns:
        0, or 2 after an error, which is printed to stderr.

    Example:
        >>> recipes(["imagenet-r50", "--json"])
        {
          "name": "imagenet-r50",
        ...
        0
    """
    return guarded("gcnet recipes", lambda: _run(argv))


def _run(argv: list[str]) -> None:
    arguments = tyro.cli(Arguments, args=argv, prog="gcnet recipes", config=(tyro.conf.FlagCreatePairsOff,))
    chosen = [find_recipe(arguments.name)] if arguments.name else [*table.recipes().values()]
    if arguments.json:
        entries = [_entry(recipe) for recipe in chosen]
        content = {**entries[0], "fields": _fields(chosen[0])} if arguments.name else entries
        print(json.dumps(content, indent=2, default=str))
    elif arguments.name:
        _show(chosen[0])
    else:
        _list(chosen)


def _entry(recipe: Recipe) -> dict[str, Any]:
    names = ("name", "task", "data", "published", "source", "hardware", "summary")
    return {name: getattr(recipe, name) for name in names} | {"published": dict(recipe.published)}


def _fields(recipe: Recipe) -> dict[str, Any]:
    return dataclasses.asdict(recipe.make(DATA))


def _list(chosen: list[Recipe]) -> None:
    rows = Table("recipe", "task", "data", "figures to aim at", "hardware", box=box.SIMPLE_HEAD, pad_edge=False)
    for recipe in chosen:
        rows.add_row(recipe.name, recipe.task, recipe.data, _figures(recipe), recipe.hardware)
    _print(rows)
    print("gcnet recipes NAME shows every field, gcnet train NAME --data DATA trains")


def _show(recipe: Recipe) -> None:
    config = recipe.make(DATA)
    usual = {field.name: field.default for field in dataclasses.fields(config)}
    rows = Table("field", "value", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, value in _fields(recipe).items():
        rows.add_row(name, _text(value), style="" if value != usual[name] else "dim")
    figures = f"{_figures(recipe)}; {recipe.source}" if recipe.published else "none published"
    lines = {"task": recipe.task, "data": recipe.data, "figures to aim at": figures, "hardware": recipe.hardware}
    print(f"{recipe.name}: {recipe.summary}")
    for name, value in lines.items():
        print(f"  {name}: {value}")
    _print(rows)
    data = "" if recipe.scenes else f" --data {DATA}"
    print(f"gcnet train {recipe.name}{data}, with any field changed as in --epochs 3 --batch-size 8")


def _figures(recipe: Recipe) -> str:
    return ", ".join(f"{name} {value}" for name, value in recipe.published.items())


def _text(value: Any) -> str:
    """As the command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, float):
        fraction = Fraction(value).limit_denominator(64)
        return str(fraction) if 0 < value < 1 and float(fraction) == value and value * 1000 % 1 else f"{value:g}"
    return str(value)


def _print(rows: Table) -> None:
    """As wide as it takes where there is no terminal."""
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(rows, markup=False)
