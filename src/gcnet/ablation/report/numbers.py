"""How scores are printed: shares as points, losses as they are, with as many digits as the intervals call for."""

from __future__ import annotations

from typing import NamedTuple

from gcnet.ablation.report.differences import NO_WIDTH, Difference
from gcnet.ablation.report.summary import Summary

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
_FINE = 0.5  # points; an interval that is narrower takes two decimals


class Scale(NamedTuple):
    """From scores of rows to printed numbers.

    Example:
        >>> Scale(100, 1).plain(0.9123), Scale(100, 1).signed(0.012), Scale(100, 1).signed(0.0)
        ('91.2', '+1.2', '0.0')
    """

    factor: int
    decimals: int

    def plain(self, value: float) -> str:
        """Without a plus sign."""
        text = f"{self.factor * value:.{self.decimals}f}"
        return text.replace("-", MINUS if float(text) else "")

    def signed(self, value: float) -> str:
        """With either sign."""
        text = self.plain(value)
        return text if text.startswith(MINUS) or not float(text) else f"+{text}"

    def interval(self, found: Difference, sign: int = 1) -> str:
        """Both ends in brackets; empty without an interval.

        Args:
            found: whose interval.
            sign: -1 for the interval of the difference the other way round.
        """
        if found.low is None or found.high is None:
            return ""
        low, high = sorted((sign * found.low, sign * found.high))
        return f"[{self.plain(low)}, {self.plain(high)}]"

    def difference(self, found: Difference) -> str:
        """As ``+3.1 [2.0, 4.4]``."""
        return f"{self.signed(found.mean)} {self.interval(found)}".rstrip()


def scale_of(summary: Summary) -> Scale:
    """How a summary prints its score."""
    if not summary.points:
        return Scale(1, 3)
    widths = [variant.difference.width for variant in summary.variants if variant.difference is not None]
    narrow = any(width is not None and NO_WIDTH < width < _FINE / 100 for width in widths)
    return Scale(100, 2 if narrow else 1)


def unit_of(summary: Summary) -> str:
    """After a number: " points", or nothing."""
    return " points" if summary.points else ""


def count(number: int, noun: str) -> str:
    """A number of things.

    Example:
        >>> count(1, "seed"), count(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def percent(share: float) -> str:
    """A share in percent, without digits that say nothing.

    Example:
        >>> percent(0.95), percent(0.975)
        ('95%', '97.5%')
    """
    return f"{round(100 * share, 6):g}%"
