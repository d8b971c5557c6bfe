"""What ``gcnet ablate TABLE`` takes besides the fields of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gcnet.ablation.seeds import parse_seeds
from gcnet.blocks.base import check_choice
from gcnet.recipes.parsing import given, take_option
from gcnet.training.config import TASKS

OUT = Path("runs/ablations")
DB = "results.sqlite"  # in it
SEEDS = "5"
ENGINES = ("local", "ray")
RAY_ONLY = ("address", "cpus", "gpus", "retries")


@dataclass(frozen=True)
class Options:
    """Of one call.

    Attributes:
        table: name, or path of a file.
        task: None for the file's, or classification.
        data: None for scenes.
        recipe: None for the task's small one.
        seeds: of every variant.
        variants: none for all.
        out: folder of the runs.
        db: file or URL of the results.
        engine: local or ray.
        jobs: runs at a time; None for one, or on a cluster for as many as fit.
        address: of the cluster; None for a local one.
        cpus: of a run on a cluster; None for its threads.
        gpus: of a run on a cluster.
        retries: of a run whose worker died.
        dry_run: only say what would run.
        report: write the whole report in the end.
    """

    table: str
    task: str | None
    data: Path | None
    recipe: str | None
    seeds: tuple[int, ...]
    variants: tuple[str, ...]
    out: Path
    db: str
    engine: str
    jobs: int | None
    address: str | None
    cpus: float | None
    gpus: float
    retries: int
    dry_run: bool
    report: bool

    def threads(self, cores: int) -> int:
        """Of a run whose configuration leaves them open: its part of the cores here, or its CPUs of a cluster."""
        return max(1, cores // (self.jobs or 1) if self.engine == "local" else int(self.cpus or 1))


def take_options(table: str, argv: list[str]) -> tuple[Options, list[str]]:
    """Options, and the arguments that are fields of the configuration.

    Args:
        table: the first argument.
        argv: the others.

    Raises:
        ValueError: a value that does not fit; an option that goes with another engine.

    Example:
        >>> options, rest = take_options("block", ["--seeds", "3-5", "--epochs", "2"])
        >>> options.seeds, options.db, rest
        ((3, 4, 5), 'runs/ablations/results.sqlite', ['--epochs', '2'])
    """
    values: dict[str, str | None] = {}
    takes = {
        "task": "a task, such as detection",
        "data": "a folder",
        "recipe": "a name, see gcnet recipes",
        "seeds": "a number, range or list",
        "variants": "names, see gcnet ablate list",
        "out": "a folder",
        "db": "a file or URL",
        "engine": "local or ray",
        "jobs": "a number",
        "address": "that of a Ray cluster, such as auto",
        "cpus": "a number",
        "gpus": "a number",
        "retries": "a number",
    }
    for name, what in takes.items():
        values[name], argv = take_option(argv, f"--{name}", what)
        if given(argv, name):
            raise ValueError(f"--{name} stands twice")
    flags = {name: f"--{name}" in argv for name in ("dry-run", "report")}
    argv = [argument for argument in argv if argument not in ("--dry-run", "--report")]
    engine, out = values["engine"] or "local", Path(values["out"] or OUT)
    check_choice("engine", engine, ENGINES)
    if values["task"] is not None:
        check_choice("task", values["task"], TASKS)
    for name in RAY_ONLY:
        if engine == "local" and values[name] is not None:
            raise ValueError(f"--{name} {values[name]} goes with --engine ray")
    return Options(
        table=table,
        task=values["task"],
        data=Path(values["data"]) if values["data"] else None,
        recipe=values["recipe"],
        seeds=parse_seeds(values["seeds"] or SEEDS),
        variants=tuple(name for name in (values["variants"] or "").split(",") if name),
        out=out,
        db=values["db"] or str(out / DB),
        engine=engine,
        jobs=None if values["jobs"] is None else int(_number("jobs", values["jobs"], 1)),
        address=values["address"],
        cpus=None if values["cpus"] is None else _number("cpus", values["cpus"]),
        gpus=_number("gpus", values["gpus"] or "0"),
        retries=int(_number("retries", values["retries"] or "2")),
        dry_run=flags["dry-run"],
        report=flags["report"],
    ), argv


def _number(name: str, text: str, least: int = 0) -> float:
    whole = name in ("jobs", "retries")
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} must be a {'whole ' if whole else ''}number") from None
    if value < least:
        raise ValueError(f"{name}={text} must be at least {least}")
    return value
