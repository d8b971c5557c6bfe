"""Results as one text file that can be committed, compared and merged: a study or a run a line (JSON Lines)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gcnet.ablation.row import Row
from gcnet.ablation.store.json_text import from_json, to_json
from gcnet.ablation.study import Study
from gcnet.files import whole_file

#: Raised with every change of the lines.
FORMAT = 1
SUFFIX = ".jsonl"


def write_lines(path: Path, rows: Mapping[str, Row], studies: Iterable[tuple[Study, str]]) -> None:
    """Write studies by name, with the time each was saved, and runs by key: equal results are equal bytes."""
    lines: list[dict[str, Any]] = [{"gcnet_results": FORMAT}]
    lines += [
        {"study": study.to_dict(), "saved": saved} for study, saved in sorted(studies, key=lambda each: each[0].name)
    ]
    lines += [{"run": rows[key].to_dict()} for key in sorted(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text("".join(f"{to_json(line)}\n" for line in lines), encoding="utf-8")


def read_lines(path: Path) -> tuple[list[Row], list[tuple[Study, str]]]:
    """Runs, and studies with the time each was saved.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a line that is no result, such as one that a merge left; another format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"results={path}: no such file")
    rows, studies = list[Row](), list[tuple[Study, str]]()
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            found = from_json(line)
            if number == 1:
                version = found["gcnet_results"]
            elif "run" in found:
                rows.append(Row.from_dict(found["run"]))
            else:
                studies.append((Study.from_dict(found["study"]), found["saved"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"results={path}: line {number} is no line of results: {line[:40]!r}") from None
        if version != FORMAT:
            raise ValueError(f"results={path}: has format {version}, this gcnet knows {FORMAT}")
    if not path.stat().st_size:
        raise ValueError(f"results={path}: is empty")
    return rows, studies
