"""In words: what the data support, what they do not, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gcnet.ablation.report.differences import FEW, NO_WIDTH, Difference, coverage
from gcnet.ablation.report.numbers import MINUS, NOTHING, Scale, count, percent, scale_of, unit_of
from gcnet.ablation.report.summary import Summary, VariantSummary

_FEW_SEEDS = 5  # below which an interval of 95 % holds the truth in 80 % of cases at most
_FEW_RANKED = 8  # variants below which a rank correlation says little


def findings(summary: Summary) -> tuple[str, ...]:
    """A sentence for every variant but the baseline.

    Example:
        >>> from gcnet.ablation.report.words import findings
        >>> findings(summary)  # doctest: +SKIP
        ('+all GC exceeds the baseline by 3.1 points [2.0, 4.4] over 5 shared seeds: supported.',)
    """
    return tuple(_finding(summary, variant) for variant in summary.variants if variant is not summary.baseline)


def warnings(summary: Summary) -> tuple[str, ...]:
    """What puts the whole report in doubt: too few seeds, lost runs, rows that were not made alike."""
    return (*_few_seeds(summary), *_lost(summary), *summary.mixed)


def notes(summary: Summary) -> tuple[str, ...]:
    """How the table is to be read."""
    return (
        *_reading(summary),
        *_several(summary),
        *_left_out(summary),
        *_without_width(summary),
        *_paper(summary),
        *([summary.study.table.note] if summary.study.table.note else []),
    )


def _finding(summary: Summary, variant: VariantSummary) -> str:
    found = variant.difference
    scale, unit = scale_of(summary), unit_of(summary)
    if found is None:
        why = "no score" if not variant.values else "no seed shared with the baseline"
        return f"{variant.label}: {why}, so no comparison."
    seeds = count(len(found.values), "shared seed")
    if found.low is None:
        return f"{variant.label}: {scale.signed(found.mean)}{unit} over {seeds}: no interval, nothing is supported."
    if not found.supported:
        told = f"{variant.label}: {scale.signed(found.mean)}{unit} {scale.interval(found)} over {seeds}: "
        if found.excludes_zero:
            return f"{told}too few to support anything."
        return f"{told}not told apart from the baseline with these seeds."
    sign = 1 if found.mean > 0 else -1
    size = f"{scale.plain(sign * found.mean)}{unit} {scale.interval(found, sign)}"
    few = ", though by few seeds" if len(found.values) < _FEW_SEEDS else ""
    return f"{variant.label} {_verb(summary, sign)} the baseline by {size} over {seeds}: supported{few}."


def _verb(summary: Summary, sign: int) -> str:
    if summary.lower_is_better:
        return "is worse than" if sign > 0 else "is better (lower) than"
    return "exceeds" if sign > 0 else "falls short of"


def _few_seeds(summary: Summary) -> Iterator[str]:
    few = [
        f"{variant.label} ({len(variant.difference.values) if variant.difference else 0})"
        for variant in summary.variants
        if variant is not summary.baseline and (variant.difference is None or len(variant.difference.values) < FEW)
    ]
    if few:
        yield (
            f"Fewer than three seeds shared with the baseline: {', '.join(few)}. "
            "Nothing is called supported there; run more seeds."
        )


def _lost(summary: Summary) -> Iterator[str]:
    planned = {run.variant for run in summary.runs}
    for variant in summary.variants:
        if variant.name not in planned:
            yield f"{variant.label}: not a run of this study."
        elif variant.lost:
            by_reason: dict[str, list[int]] = {}
            for seed, reason in variant.lost.items():
                by_reason.setdefault(" ".join(reason.split()), []).append(seed)
            told = "; ".join(f"{_seeds(seeds)} {reason}" for reason, seeds in by_reason.items())
            yield f"{variant.label}: without a score: {told}."


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _reading(summary: Summary) -> Iterator[str]:
    kind = "in points from 0 to 100" if summary.points else "where lower is better" * summary.lower_is_better
    when = "of the best epoch, which flatters it" if summary.metric == "best" else "after the last epoch"
    name = "" if summary.baseline.label == "baseline" else f" ({summary.baseline.label})"
    score = ", ".join(filter(None, (f"{summary.metric} {when}", kind)))
    yield (
        f"Score: {score}; mean ± sample standard deviation over seeds. Difference: to the baseline{name}, paired over "
        f"shared seeds, with a {percent(summary.level)} bootstrap interval over seeds; bold where it excludes zero, "
        f"from {FEW} seeds on."
    )


def _several(summary: Summary) -> Iterator[str]:
    """Many intervals at once, each too narrow."""
    compared = [*(each.difference for each in summary.variants), *(each.difference for each in summary.claims)]
    sizes = {(each.variant, each.other): len(each.values) for each in compared if each and each.low is not None}
    if not sizes:
        return
    level = percent(summary.level)
    each = f"{count(len(sizes), 'interval')} of {level}, each on its own and not corrected for their number"
    if summary.level != 0.95:
        yield f"This report has {each}; of few seeds they are too narrow."
        return
    fewest, most = min(sizes.values()), max(sizes.values())
    shares = percent(coverage(fewest)) + ("" if fewest == most else f" to {percent(coverage(most))}")
    seeds = count(fewest, "seed") if fewest == most else f"{fewest} to {most} seeds"
    false = sum(1 - coverage(size) for size in sizes.values())
    yield (
        f"This report has {each}. With {seeds} a bootstrap interval is too narrow: in simulations one of 95% holds the "
        f"truth in {shares} of cases. Were all variants equal, about {false:.1f} of these intervals would still "
        "exclude zero."
    )


def _left_out(summary: Summary) -> Iterator[str]:
    for variant in summary.variants:
        if variant.difference is not None and variant.difference.left_out:
            only = _seeds(variant.difference.left_out)
            yield f"{variant.label}: {only} left out of its difference, as one of the two has no score there."


def _without_width(summary: Summary) -> Iterator[str]:
    for variant in summary.variants:
        found = variant.difference
        if found is not None and found.width is not None and found.width < NO_WIDTH:
            yield (
                f"{variant.label}: its {len(found.values)} differences are all {scale_of(summary).signed(found.mean)}, "
                "so the interval has no width; it says nothing of other seeds."
            )


def _paper(summary: Summary) -> Iterator[str]:
    paper = summary.paper
    if paper is None:
        return
    yield (
        f"The paper's columns are its table {paper.printed}, on {paper.data}: other data, networks and training than "
        "here, so compare differences and order, not scores. † quoted, not confirmed at its source."
    )
    if paper.note:
        yield paper.note
    if summary.tau is not None:
        few = "; few variants, so this says little" if summary.ranked < _FEW_RANKED else ""
        yield (
            f"Order of {summary.ranked} variants against the paper's {summary.paper_score}: Kendall's τ = "
            f"{Scale(1, 2).signed(summary.tau)} (1 the same, {MINUS}1 reversed, near 0 unrelated){few}. It takes means "
            "as they are, told apart or not."
        )


def told(summary: Summary, found: Difference | None) -> str:
    """A difference with its interval and its seeds, for a cell.

    Example:
        >>> from gcnet.ablation.report.words import told
        >>> told(summary, summary["gc"].difference)  # doctest: +SKIP
        '+3.1 [2.0, 4.4]'
    """
    return NOTHING if found is None else scale_of(summary).difference(found)
