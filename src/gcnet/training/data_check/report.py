"""What a check found, as a table and as JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gcnet.analysis.table import format_table

SHOWN = 3  # problems of each kind on the screen; JSON has all


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        kind: such as "unreadable image".
        place: the file, or the place in a file.
        message: what is wrong there.
    """

    kind: str
    place: str
    message: str


@dataclass
class Report:
    """What was found in a data set.

    Attributes:
        root: its folder.
        task: what it can be trained for.
        counts: what there is, such as {"train images": 73}.
        errors: what training would stop at, or learn or score wrongly.
        warnings: what may be meant so, but is worth a look.
    """

    root: Path
    task: str
    counts: dict[str, int] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def error(self, kind: str, place: Path | str, message: str) -> None:
        """Add an error."""
        self.errors.append(Problem(kind, self.short(place), message))

    def warning(self, kind: str, place: Path | str, message: str) -> None:
        """Add a warning."""
        self.warnings.append(Problem(kind, self.short(place), message))

    def short(self, place: Path | str) -> str:
        """A path as seen from the folder."""
        if isinstance(place, Path) and place != self.root and place.is_relative_to(self.root):
            return place.relative_to(self.root).as_posix()
        return str(place)

    def as_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        problems = {name: [problem._asdict() for problem in getattr(self, name)] for name in ("errors", "warnings")}
        return {**asdict(self), "root": str(self.root), **problems}

    def text(self) -> str:
        """What there is, a table of the kinds of problems, and the first few of each.

        Example:
            >>> report = Report(Path("photos"), "classification", {"train images": 20})
            >>> report.error("unreadable image", Path("photos/train/a/1.png"), "it is empty")
            >>> print(report.text())
            photos: classification  count
            -----------------------------
            train images               20
            <BLANKLINE>
            problem                  count
            ------------------------------
            error: unreadable image      1
            <BLANKLINE>
            Errors
              unreadable image
                train/a/1.png: it is empty
        """
        parts = [format_table((f"{self.root}: {self.task}", "count"), _rows(self.counts))]
        groups = [(name, _by_kind(problems)) for name, problems in (("error", self.errors), ("warning", self.warnings))]
        rows = _rows({f"{name}: {kind}": len(found) for name, kinds in groups for kind, found in kinds.items()})
        parts.append(format_table(("problem", "count"), rows) if rows else "Nothing is wrong.")
        for name, kinds in groups:
            lines = [f"{name.title()}s"] if kinds else []
            for kind, found in kinds.items():
                lines.append(f"  {kind}")
                lines += [f"    {problem.place}: {problem.message}" for problem in found[:SHOWN]]
                if len(found) > SHOWN:
                    lines.append(f"    and {len(found) - SHOWN:,} more")
            parts += ["\n".join(lines)] if lines else []
        return "\n\n".join(parts)


def _rows(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name, f"{count:,}") for name, count in counts.items()]


def _by_kind(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    kinds: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        kinds[problem.kind].append(problem)
    return kinds
