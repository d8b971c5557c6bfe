"""Whether the rows of a report were made alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gcnet.ablation.row import Row
from gcnet.ablation.study import Study


def mixtures(study: Study, rows: Mapping[str, Sequence[Row]]) -> tuple[str, ...]:
    """Sentences on everything besides variant and seed that differs between rows; none if they were made alike.

    The source hash of a block of another library covers its file as well: such blocks are compared among themselves.

    Args:
        study: whose data the rows should have.
        rows: finished ones by variant.

    Example:
        >>> from gcnet.ablation.report.provenance import mixtures
        >>> mixtures(study, {"none": [old], "gc": [new]})  # doctest: +SKIP
        ('Rows mix 2 versions of torch: 2.10.0 (none), 2.11.0 (gc). ...',)
    """
    return tuple(_sentences(study, [(name, row) for name, found in rows.items() for row in found]))


def _sentences(study: Study, rows: Sequence[tuple[str, Row]]) -> Iterator[str]:
    foreign = sorted({_foreign_block(row) for _, row in rows})
    for block in foreign:
        alike = [(name, row) for name, row in rows if _foreign_block(row) == block]
        what = f"sources of gcnet, with {block}" if block else "sources of gcnet"
        yield from _mixture(alike, what, lambda row: row.sources, "scores may differ for that reason")
    yield from _mixture(rows, "data sets", lambda row: row.data, "their scores are not comparable")
    if {row.data for _, row in rows} - {study.data} and len({row.data for _, row in rows}) == 1:
        yield f"Rows have the data {rows[0][1].data}, the study has {study.data}."
    for package in sorted({package for _, row in rows for package in row.versions}):
        yield from _mixture(
            rows,
            f"versions of {package}",
            lambda row, package=package: row.versions.get(package, "none"),  # type: ignore[misc]
            "scores may differ for that reason",
        )
    why = "compare no latency, memory or seconds across them; scores may differ a little"
    yield from _mixture(rows, "kinds of hardware", _hardware, why)
    yield from _mixture(rows, "numbers of threads", lambda row: str(row.threads), why)
    yield from _mixture(rows, "input shapes", lambda row: str(row.input_shape), "multiply-adds are not comparable")
    for name in dict.fromkeys(name for name, _ in rows):
        same = [(name, row) for variant, row in rows if variant == name]
        yield from _mixture(
            same, f"sizes of {name}", lambda row: f"{row.parameters} parameters", "it is not one variant"
        )


def _mixture(rows: Sequence[tuple[str, Row]], what: str, value: Callable[[Row], str], why: str) -> Iterator[str]:
    """Which variants have which value, if there are several."""
    found: dict[str, dict[str, None]] = {}
    for name, row in rows:
        found.setdefault(value(row), {})[name] = None
    if len(found) > 1:
        listed = "; ".join(f"{each} ({', '.join(names)})" for each, names in found.items())
        yield f"Rows mix {len(found)} {what}: {listed}. So {why}."


def _foreign_block(row: Row) -> str:
    """The block of another library; empty for our own."""
    block = str(row.config.get("block", ""))
    return block if ":" in block else ""


def _hardware(row: Row) -> str:
    values: dict[str, Any] = dict(row.hardware)
    device = values.pop("device", "")
    rest = ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()
    )
    return f"{device}, {rest}" if rest else str(device)
