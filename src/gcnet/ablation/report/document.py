"""A report as plain text in tables and paragraphs, before any format."""

from __future__ import annotations

from dataclasses import dataclass

from gcnet.ablation.paper import Figure
from gcnet.ablation.report.numbers import MINUS, NOTHING, scale_of
from gcnet.ablation.report.summary import Summary, VariantSummary
from gcnet.ablation.report.words import findings, notes, told, warnings
from gcnet.analysis.table import with_unit


@dataclass(frozen=True)
class Cell:
    """Text, not escaped for any format."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        title: what it shows.
        groups: what is printed above columns: (text, number of columns), empty text for none.
        head: of every column.
        rows: of cells; the first of a row names it.
        words: number of columns to the left that hold words, not numbers.
    """

    title: str
    groups: tuple[tuple[str, int], ...]
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """What each column is called where the groups are not seen."""
        groups = [text for text, width in self.groups for _ in range(width)] or [""] * len(self.head)
        return tuple(
            f"paper's {name}" if group.startswith("paper") else name
            for name, group in zip(self.head, groups, strict=True)
        )


@dataclass(frozen=True)
class Document:
    """Everything a report says.

    Attributes:
        name: of the study.
        title: of the table.
        about: one line on data and network.
        warnings: what puts it in doubt.
        results: scores and sizes, the paper's beside them.
        findings: a sentence per variant.
        claims: of the paper, checked; None if there are none.
        costs: what was timed and weighed.
        notes: how to read it.
        command: that regenerates it.
    """

    name: str
    title: str
    about: str
    warnings: tuple[str, ...]
    results: Grid
    findings: tuple[str, ...]
    claims: Grid | None
    costs: Grid
    notes: tuple[str, ...]
    command: str


def document(summary: Summary) -> Document:
    """Say a summary in words and cells.

    Example:
        >>> from gcnet.ablation.report.document import document
        >>> document(summary).results.head[0]  # doctest: +SKIP
        'variant'
    """
    study = summary.study
    return Document(
        name=study.name,
        title=f"{study.table.title}, {study.task}",
        about=study.about,
        warnings=warnings(summary),
        results=_results(summary),
        findings=findings(summary),
        claims=_claims(summary) if summary.claims else None,
        costs=_costs(summary),
        notes=notes(summary),
        command=study.command,
    )


def _results(summary: Summary) -> Grid:
    head: tuple[str, ...] = ("variant", "seeds", summary.metric, "difference", "parameters", "multiply-adds")
    groups: tuple[tuple[str, int], ...] = (("", 2), ("measured", 4))
    if summary.paper is not None:
        score = " / ".join(summary.paper.scores) if summary.study.task == "detection" else summary.paper_score
        gain = f"difference, {summary.paper_score}" if " / " in score else "difference"
        head = (*head, score, gain, "parameters", "GFLOPs")
        groups = (*groups, (f"paper, {summary.paper.printed}", 4))
    rows = tuple((*_measured(summary, each), *_printed(summary, each)) for each in summary.variants)
    return Grid("Scores and sizes", groups, head, rows)


def _measured(summary: Summary, variant: VariantSummary) -> tuple[Cell, ...]:
    scale, found, costs = scale_of(summary), variant.difference, variant.costs
    planned = len(variant.values) + len(variant.lost)
    score = NOTHING
    if variant.mean is not None:
        spread = "" if variant.deviation is None else f" ± {scale.plain(variant.deviation)}"
        score = f"{scale.plain(variant.mean)}{spread}"
    return (
        Cell(variant.label),
        Cell(f"{len(variant.values)}" + (f" of {planned}" if variant.lost else "")),
        Cell(score),
        Cell(told(summary, found), bold=found is not None and found.supported),
        Cell(NOTHING if costs is None else with_unit(costs.parameters)),
        Cell(NOTHING if costs is None else with_unit(costs.macs)),
    )


def _printed(summary: Summary, variant: VariantSummary) -> tuple[Cell, ...]:
    """The paper's row; dashes where it has none."""
    paper = summary.paper
    if paper is None:
        return ()
    row = paper.rows.get(variant.name)
    if row is None:
        return (Cell(NOTHING),) * 4
    names = paper.scores if summary.study.task == "detection" else (summary.paper_score,)
    base = paper.rows.get(summary.study.table.baseline)
    score, start = row.scores[summary.paper_score], None if base is None else base.scores[summary.paper_score]
    gain = NOTHING
    if start is not None and row is not base:
        gain = f"{score.value - start.value:+.{paper.decimals}f}".replace("-", MINUS) + _mark(score, start)
    return (
        Cell(" / ".join(_figure(row.scores[name], paper.decimals) for name in names)),
        Cell(gain),
        Cell(_figure(row.params, paper.decimals, " M")),
        Cell(_figure(row.gflops, paper.decimals)),
    )


def _figure(figure: Figure, decimals: int, unit: str = "") -> str:
    return f"{figure.value:.{decimals}f}{unit}{_mark(figure)}"


def _mark(*figures: Figure) -> str:
    return "" if all(figure.sure for figure in figures) else "†"


def _claims(summary: Summary) -> Grid:
    rows = []
    for each in summary.claims:
        labels = [summary[name].label for name in (each.claim.first, each.claim.second)]
        found = each.difference
        seeds = NOTHING if found is None else str(len(found.values))
        verdict = each.verdict
        if each.claim.alike and verdict == "not told apart":
            verdict = "not told apart, as in the paper"
        cells = (each.claim.text, f" {MINUS} ".join(labels), verdict, told(summary, found), seeds)
        bold = found is not None and found.supported
        rows.append(tuple(Cell(text, bold=bold and index == 3) for index, text in enumerate(cells)))
    head = ("the paper", "compared", "here", "difference", "seeds")
    return Grid("What the paper's table says, checked here", (), head, tuple(rows), words=3)


def _costs(summary: Summary) -> Grid:
    head = ("variant", "added parameters", "latency / plain", "memory", "training")
    rows = []
    for variant in summary.variants:
        costs = variant.costs
        cells = [NOTHING] * 4
        if costs is not None:
            ratio = costs.latency_ratio
            cells = [
                with_unit(costs.added),
                f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
                f"{costs.memory_mb:.0f} MB",
                f"{costs.seconds:.0f} s",
            ]
        rows.append((Cell(variant.label), *map(Cell, cells)))
    return Grid("Costs: medians over runs; latency with quartiles", (), head, tuple(rows))
