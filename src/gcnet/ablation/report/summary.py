"""What a study found, as one typed value that every format is written from."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gcnet.ablation.paper import PublishedTable, published
from gcnet.ablation.report.claims import CheckedClaim, check_claims
from gcnet.ablation.report.differences import Difference, difference
from gcnet.ablation.report.provenance import mixtures
from gcnet.ablation.report.ranking import kendall
from gcnet.ablation.row import Row
from gcnet.ablation.study import Study
from gcnet.benchmarks.timing import Quartiles


class Costs(NamedTuple):
    """Of one network; medians over its runs where they vary.

    ``added`` are the parameters of its blocks; ``latency_ratio`` is the latency / that of the plain network.
    """

    parameters: int
    added: int
    macs: int
    latency_ratio: Quartiles
    memory_mb: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """One run of a study.

    Attributes:
        variant: its name.
        seed: of the run.
        key: of the run.
        row: what it found; None if it is not finished.
        lost: why it has no score, such as "missing"; empty if it has one.
    """

    variant: str
    seed: int
    key: str
    row: Row | None
    lost: str


@dataclass(frozen=True)
class VariantSummary:
    """One variant over its seeds.

    Attributes:
        name: of the variant.
        label: as printed.
        values: seed -> score, finite ones.
        lost: seed -> why it has no score.
        mean: of the scores; None without any.
        deviation: sample standard deviation; None of fewer than two.
        difference: to the baseline; None for the baseline itself and where no seed is shared.
        costs: None without a finished run.
    """

    name: str
    label: str
    values: Mapping[int, float]
    lost: Mapping[int, str]
    mean: float | None
    deviation: float | None
    difference: Difference | None
    costs: Costs | None


@dataclass(frozen=True)
class Summary:
    """A study, read.

    Attributes:
        study: that was run.
        metric: name of the score.
        level: of the intervals.
        lower_is_better: of the score: a loss.
        points: whether scores are shares, printed as points from 0 to 100.
        variants: in the order of the table.
        runs: every run of the study.
        paper: table of the paper beside it, or None.
        paper_score: its score that is compared; empty without a table.
        tau: Kendall's rank correlation of the means with the paper's scores; None where there is none.
        ranked: number of variants in it.
        claims: of the paper, checked.
        mixed: sentences on what differs between rows and should not.
    """

    study: Study
    metric: str
    level: float
    lower_is_better: bool
    points: bool
    variants: tuple[VariantSummary, ...]
    runs: tuple[Run, ...]
    paper: PublishedTable | None
    paper_score: str
    tau: float | None
    ranked: int
    claims: tuple[CheckedClaim, ...]
    mixed: tuple[str, ...]

    def __getitem__(self, name: str) -> VariantSummary:
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(f"no variant {name!r}: {', '.join(variant.name for variant in self.variants)}")

    @property
    def baseline(self) -> VariantSummary:
        """The variant that the others are compared with."""
        return self[self.study.table.baseline]


def summarise(
    study: Study,
    rows: Mapping[str, Row],
    *,
    metric: str | None = None,
    level: float = 0.95,
    failures: Mapping[str, str] | None = None,
) -> Summary:
    """Read a study: means, paired differences to the baseline, costs, and the paper beside them.

    Runs without a row, or whose score is missing or not finite, count as lost and are named. An interval over few seeds
    is too narrow; see :func:`gcnet.ablation.report.differences.difference`.

    Args:
        study: which runs there should be.
        rows: finished runs by key; others than the study's are passed over.
        metric: name of the score, after the last epoch; None for the main one of the task. Of a loss, lower is better.
        level: of the intervals, between 0 and 1.
        failures: key -> error of runs that failed.

    Raises:
        ValueError: no run is finished, no row has a finite value of the metric, an impossible level, a table of the
            paper that it does not have.

    Example:
        >>> from gcnet.ablation.report.summary import summarise
        >>> found = summarise(study, rows)  # doctest: +SKIP
        >>> found["gc"].difference.mean, found["gc"].difference.supported  # doctest: +SKIP
        (0.031, True)
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1, such as 0.95")
    metric = _metric(study, rows, metric)
    failures = failures or {}
    runs = tuple(_run(study, name, seed, key, rows, metric, failures) for name, seed, key in study.runs())
    scores: dict[str, dict[int, float]] = {variant.name: {} for variant in study.table.variants}
    for run in runs:
        if run.row is not None and not run.lost:
            scores[run.variant][run.seed] = float(run.row.metrics[metric])
    if not any(scores.values()):
        raise ValueError(f"metric={metric!r}: no finished run of {study.name!r} has a finite value of it")
    paper = published(study.table.paper, study.task)
    paper_score = _paper_score(paper, metric)
    lower = is_loss(metric)
    variants = tuple(_variant(study, variant.name, runs, scores, level) for variant in study.table.variants)
    tau, ranked = _rank(variants, paper, paper_score, lower)
    return Summary(
        study=study,
        metric=metric,
        level=level,
        lower_is_better=lower,
        points=not lower and all(0 <= value <= 1 for found in scores.values() for value in found.values()),
        variants=variants,
        runs=runs,
        paper=paper,
        paper_score=paper_score,
        tau=tau,
        ranked=ranked,
        claims=check_claims(study.table.paper, scores, level=level, lower_is_better=lower),
        mixed=mixtures(study, {name: _rows(runs, name) for name in scores}),
    )


def is_loss(metric: str) -> bool:
    """Whether lower is better.

    Example:
        >>> is_loss("val_loss"), is_loss("val_top1")
        (True, False)
    """
    return "loss" in metric


def _metric(study: Study, rows: Mapping[str, Row], metric: str | None) -> str:
    """The name of the score, once a row is known to have it."""
    found = [rows[key] for _, _, key in study.runs() if key in rows]
    if not found:
        raise ValueError(f"study {study.name!r} has no finished run yet; {study.command!r} runs it")
    if metric is None:
        return found[0].score
    known = sorted({name for row in found for name in row.metrics})
    if metric not in known:
        raise ValueError(f"metric={metric!r} is in no row of {study.name!r}; there are {', '.join(known)}")
    return metric


def _run(
    study: Study,
    variant: str,
    seed: int,
    key: str,
    rows: Mapping[str, Row],
    metric: str,
    failures: Mapping[str, str],
) -> Run:
    row = rows.get(key)
    if row is None:
        lost = f"failed: {failures[key]}" if key in failures else "missing"
    elif metric not in row.metrics:
        lost = f"without {metric}"
    else:
        value = float(row.metrics[metric])
        lost = "" if math.isfinite(value) else f"{metric} is {value}"
    return Run(variant, seed, key, row, lost)


def _rows(runs: tuple[Run, ...], variant: str) -> list[Row]:
    return [run.row for run in runs if run.variant == variant and run.row is not None]


def _variant(
    study: Study, name: str, runs: tuple[Run, ...], scores: Mapping[str, Mapping[int, float]], level: float
) -> VariantSummary:
    values = [*scores[name].values()]
    baseline = study.table.baseline
    return VariantSummary(
        name=name,
        label=study.table[name].label,
        values=scores[name],
        lost={run.seed: run.lost for run in runs if run.variant == name and run.lost},
        mean=statistics.fmean(values) if values else None,
        deviation=statistics.stdev(values) if len(values) > 1 else None,
        difference=None if name == baseline else difference(name, baseline, scores, level=level),
        costs=_costs(_rows(runs, name)),
    )


def _costs(rows: list[Row]) -> Costs | None:
    if not rows:
        return None
    low, middle, high = (statistics.median(row.latency_ratio[index] for row in rows) for index in range(3))
    first = rows[0]
    return Costs(
        first.parameters,
        first.added_parameters,
        first.macs,
        Quartiles(low, middle, high),
        statistics.median(row.memory_mb for row in rows),
        statistics.median(row.seconds for row in rows),
    )


def _paper_score(paper: PublishedTable | None, metric: str) -> str:
    """The score of the paper that is nearest to a metric: its second one for masks and top 5, otherwise its first."""
    if paper is None:
        return ""
    main, second = paper.scores
    return second if second.partition(" ")[0].replace("-", "") in metric else main


def _rank(
    variants: tuple[VariantSummary, ...], paper: PublishedTable | None, score: str, lower: bool
) -> tuple[float | None, int]:
    if paper is None:
        return None, 0
    both = [
        (each.mean, paper.rows[each.name]) for each in variants if each.mean is not None and each.name in paper.rows
    ]
    ours = [-mean if lower else mean for mean, _ in both]
    return kendall(ours, [row.scores[score].value for _, row in both]), len(both)
