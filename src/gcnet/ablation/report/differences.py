"""The difference of two variants over the seeds that both have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gcnet.analysis.bootstrap import bootstrap

#: Seeds below which nothing is called supported.
FEW = 3

#: Width of an interval of equal differences, but for rounding.
NO_WIDTH = 1e-12

#: Seeds -> share of cases in which a nominal 95 % interval held the truth: 4000 simulations with normal differences.
COVERAGE = {2: 0.49, 3: 0.75, 4: 0.80, 5: 0.83, 6: 0.86, 7: 0.87, 8: 0.89, 10: 0.90, 15: 0.92, 20: 0.925}


@dataclass(frozen=True)
class Difference:
    """Score of one variant minus that of another, paired by seed.

    Attributes:
        variant: name of the one.
        other: name of the other.
        values: seed -> difference, over the seeds that both have.
        left_out: seeds that only one of them has.
        mean: over the shared seeds.
        low: lower end of the bootstrap interval of the mean; None of a single seed.
        high: upper end; likewise.
    """

    variant: str
    other: str
    values: Mapping[int, float]
    left_out: tuple[int, ...]
    mean: float
    low: float | None
    high: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and zero lies outside."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def supported(self) -> bool:
        """Whether the interval excludes zero and comes from at least three seeds."""
        return self.excludes_zero and len(self.values) >= FEW

    @property
    def width(self) -> float | None:
        """Of the interval; None without one."""
        return None if self.low is None or self.high is None else self.high - self.low


def difference(
    variant: str, other: str, scores: Mapping[str, Mapping[int, float]], *, level: float = 0.95
) -> Difference | None:
    """Compare two variants over shared seeds; None if they share none.

    The interval is that of :func:`gcnet.analysis.bootstrap.bootstrap` over seeds. Of few seeds it is too narrow: in
    simulations, one of 95 % held the truth in 75 % of cases with 3 seeds, in 83 % with 5 and in 90 % with 10.

    Args:
        variant: name of one.
        other: name of the other, which is subtracted.
        scores: variant -> seed -> score, all finite.
        level: of the interval.

    Example:
        >>> scores = {"gc": {0: 0.8, 1: 0.9, 2: 0.7}, "none": {0: 0.7, 1: 0.6, 3: 0.5}}
        >>> found = difference("gc", "none", scores)
        >>> round(found.mean, 2), sorted(found.values), found.left_out, found.excludes_zero, found.supported
        (0.2, [0, 1], (2, 3), True, False)
    """
    ours, theirs = scores.get(variant, {}), scores.get(other, {})
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    values = {seed: ours[seed] - theirs[seed] for seed in shared}
    found = bootstrap(list(values.values()), level=level)
    left_out = tuple(sorted(ours.keys() ^ theirs.keys()))
    return Difference(variant, other, values, left_out, found.mean, found.low, found.high)


def coverage(seeds: int) -> float:
    """Share of cases in which an interval of 95 % over so many seeds holds the truth, by simulation.

    Args:
        seeds: at least two; between simulated numbers, the lower one counts.

    Raises:
        ValueError: fewer than two seeds, which have no interval.

    Example:
        >>> coverage(5), coverage(9)
        (0.83, 0.89)
    """
    if seeds < 2:
        raise ValueError(f"seeds={seeds}: an interval takes at least two")
    return COVERAGE[max(number for number in COVERAGE if number <= seeds)]
