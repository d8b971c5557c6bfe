"""``gcnet ablate report``, ``studies``, ``merge`` and ``export``: what to do with results, without data and runs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich import box
from rich.console import Console
from rich.table import Table as Rows

from gcnet.ablation.options import DB, OUT
from gcnet.ablation.report.document import document
from gcnet.ablation.report.markdown import markdown
from gcnet.ablation.report.summary import Summary, summarise
from gcnet.ablation.report.write import write_report
from gcnet.ablation.seeds import ranges
from gcnet.ablation.store import Store, copy, export_json
from gcnet.ablation.study import Study

RESULTS = str(OUT / DB)
Arguments = TypeVar("Arguments")
Files = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DB")]


@dataclass(frozen=True)
class ReportArguments:
    """Write the report of a study in all formats, and print it as Markdown."""

    study: tyro.conf.Positional[str] = ""
    """Its name or how that begins, or the name of its table; may be left out where there is one study."""
    db: str = RESULTS
    """File (.sqlite, or .jsonl of gcnet ablate export) or URL of the results."""
    metric: str = ""
    """Score to compare; by default the main score of the task."""
    out: str = ""
    """Folder to write; by default reports/STUDY beside the results."""
    json: bool = False
    """Print the numbers as JSON instead."""


@dataclass(frozen=True)
class StudiesArguments:
    """List the studies that results hold."""

    db: str = RESULTS
    """File or URL of the results."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class MergeArguments:
    """Put the runs and studies of other results into one; what is there stays."""

    into: tyro.conf.Positional[str]
    """File or URL that takes them."""
    sources: Files
    """Files or URLs that are read."""


@dataclass(frozen=True)
class ExportArguments:
    """Write results as a text file, for git; gcnet ablate report --db reads it."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE.jsonl")]
    """To write."""
    db: str = RESULTS
    """File or URL of the results."""


def report(argv: list[str]) -> None:
    """Run ``gcnet ablate report``.

    Raises:
        ValueError, OSError: no such results, study or metric; no finished runs.

    Example:
        >>> report(["block", "--db", "benchmarks/ablations/scenes.jsonl"])  # doctest: +SKIP
    """
    arguments = _parse(ReportArguments, "report", argv)
    with Store(arguments.db, read_only=True) as store:
        study = _one_study(store, arguments.study)
        beside = OUT if "://" in arguments.db else Path(arguments.db).parent
        out = Path(arguments.out) if arguments.out else beside / "reports" / study.name
        show_report(store, study, out=out, metric=arguments.metric or None, as_json=arguments.json)


def show_report(
    store: Store, study: Study, *, out: Path | None = None, metric: str | None = None, as_json: bool = False
) -> None:
    """Print the report of a study, and write it in all formats.

    Args:
        store: with its rows.
        study: as the store has it.
        out: folder to write; None to print only.
        metric: score to compare; None for the task's own.
        as_json: print numbers instead of Markdown.

    Raises:
        ValueError: no finished runs; an unknown metric.
    """
    rows = store.rows([key for _, _, key in study.runs()])
    if not rows:
        raise ValueError(f"study {study.name}: none of its runs is finished")
    summary = summarise(study, rows, metric=metric, failures=store.failures())
    print(json.dumps(as_values(summary), indent=2) if as_json else markdown(document(summary)))
    if out is not None:
        paths = write_report(summary, out)
        print(f"{out}: {', '.join(path.name for path in paths)}", file=sys.stderr)


def studies(argv: list[str]) -> None:
    """Run ``gcnet ablate studies``.

    Raises:
        ValueError, OSError: no such results.

    Example:
        >>> studies(["--db", "team.sqlite"])  # doctest: +SKIP
    """
    arguments = _parse(StudiesArguments, "studies", argv)
    with Store(arguments.db, read_only=True) as store:
        stored = store.studies()
        done = store.rows().keys()
        failed = store.failures().keys()
    counts = {study.name: [key for _, _, key in study.runs()] for study in stored}
    if arguments.json:
        entries = [
            {
                **{name: getattr(study, name) for name in ("name", "task", "about", "command")},
                "table": study.table.name,
                "seeds": list(study.seeds),
                "runs": len(counts[study.name]),
                "finished": len(done & set(counts[study.name])),
                "failed": len(failed & set(counts[study.name])),
            }
            for study in stored
        ]
        print(json.dumps(entries, indent=2))
        return
    rows = Rows("study", "variants", "seeds", "runs finished", "failed", "about", box=box.SIMPLE_HEAD, pad_edge=False)
    for study in stored:
        keys = counts[study.name]
        finished = f"{len(done & set(keys))} of {len(keys)}"
        failures = len(failed & set(keys))
        rows.add_row(study.name, str(len(study.keys)), ranges(study.seeds), finished, str(failures or ""), study.about)
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(rows, markup=False)
    print("gcnet ablate report STUDY writes the report of one")


def merge(argv: list[str]) -> None:
    """Run ``gcnet ablate merge``.

    Raises:
        ValueError, OSError: results that cannot be read or written.

    Example:
        >>> merge(["team.sqlite", "laptop.sqlite", "desk.jsonl"])  # doctest: +SKIP
    """
    arguments = _parse(MergeArguments, "merge", argv)
    if not arguments.sources:
        raise ValueError(f"give results to put into {arguments.into}")
    with Store(arguments.into) as into:
        for name in arguments.sources:
            with Store(name, read_only=True) as source:
                print(f"{copy(source, into)} new runs of {source.name} in {into.name}")


def export(argv: list[str]) -> None:
    """Run ``gcnet ablate export``.

    Raises:
        ValueError, OSError: no such results; a file that is not called .jsonl or cannot be written.

    Example:
        >>> export(["results.jsonl", "--db", "team.sqlite"])  # doctest: +SKIP
    """
    arguments = _parse(ExportArguments, "export", argv)
    with Store(arguments.db, read_only=True) as store:
        export_json(store, arguments.file)
        print(f"Wrote {len(store.rows())} runs and {len(store.studies())} studies to {arguments.file}")


def as_values(summary: Summary) -> dict[str, Any]:
    """A summary as plain values, for JSON: every score by seed, the differences to the baseline, and the costs."""
    study = summary.study
    return {
        "study": study.name,
        "about": study.about,
        "command": study.command,
        "metric": summary.metric,
        "level": summary.level,
        "baseline": study.table.baseline,
        "variants": [
            {
                **{name: getattr(each, name) for name in ("name", "label", "mean", "deviation")},
                "scores": dict(each.values),
                "lost": dict(each.lost),
                "difference": None if each.difference is None else asdict(each.difference),
                "costs": None if each.costs is None else each.costs._asdict(),
            }
            for each in summary.variants
        ],
    }


def _one_study(store: Store, name: str) -> Study:
    if name:
        return store.study(name)
    stored = store.studies()
    if len(stored) == 1:
        return stored[0]
    names = ", ".join(study.name for study in stored)
    raise ValueError(f"give one of the {len(stored)} studies of {store.name}: {names}" if stored else "no study yet")


def _parse(kind: type[Arguments], verb: str, argv: list[str]) -> Arguments:
    return tyro.cli(kind, args=argv, prog=f"gcnet ablate {verb}", config=(tyro.conf.FlagCreatePairsOff,))
