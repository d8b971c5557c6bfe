"""Plain-text tables."""

from __future__ import annotations

from collections.abc import Sequence


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Align rows under a head; the first ``left`` columns to the left, the others to the right.

    Example:
        >>> print(format_table(("part", "MACs"), [("stem", "118.0 M"), ("c2", "0.7 G")]))
        part     MACs
        -------------
        stem  118.0 M
        c2      0.7 G
    """
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(aligned).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join((line(head), rule, *map(line, rows)))


def with_unit(value: float, *, signed: bool = False) -> str:
    """A number with four digits or so and a unit.

    Example:
        >>> with_unit(25_557_032), with_unit(-812), with_unit(4_089_184_256, signed=True)
        ('25.557 M', '-812', '+4.089 G')
    """
    sign = "+" if signed else ""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:{sign}.3f} {unit}"
    return f"{value:{sign}g}"
