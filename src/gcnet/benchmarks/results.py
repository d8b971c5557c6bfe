"""Results of a run, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from gcnet.benchmarks.cases import Case
from gcnet.benchmarks.environment import Environment
from gcnet.benchmarks.peers import OURS
from gcnet.benchmarks.timing import Quartiles, ratios

#: Changes when a reader of the JSON would have to.
SCHEMA = 1


@dataclass(frozen=True)
class Timing:
    """One contestant in one case.

    Attributes:
        samples_ms: milliseconds of one call, one sample per round; samples of one round belong together.
        peak_bytes: most memory that a call held beyond what was held before it.
        error: largest error against float64, as a share of the norm; None for floors.
        ran: our implementation that ran, as its log says; None for others.
    """

    samples_ms: tuple[float, ...]
    peak_bytes: int
    error: float | None = None
    ran: str | None = None

    @property
    def ms(self) -> Quartiles:
        """Milliseconds of one call."""
        return Quartiles.of(self.samples_ms)


@dataclass(frozen=True)
class CaseResult:
    """All contestants in one case.

    Attributes:
        name: of the case.
        case: the other attributes of the case.
        timings: by contestant, ours first.
        absent: contestant -> why it is not among them.
    """

    name: str
    case: dict[str, Any]
    timings: dict[str, Timing]
    absent: dict[str, str]

    def ratio(self, name: str) -> Quartiles:
        """How many times longer ``name`` takes than ours."""
        return ratios(self.timings[OURS].samples_ms, self.timings[name].samples_ms)

    @property
    def share_of_copy(self) -> Quartiles | None:
        """Bandwidth of ours as a share of a copy's, counting only traffic that no implementation can avoid."""
        passes = self.case["least_passes"]
        if passes is None or "copy" not in self.timings:
            return None
        return Quartiles(*(passes / 2 * ratio for ratio in self.ratio("copy")))


@dataclass(frozen=True)
class Run:
    """One run of the registry or of a part of it.

    Attributes:
        environment: where and with what.
        settings: device, rounds, least length of a sample, quick or not, CUDA graphs or not, inputs that take turns.
        results: in the order of the registry.
    """

    environment: Environment
    settings: dict[str, Any]
    results: tuple[CaseResult, ...]


def describe(case: Case) -> dict[str, Any]:
    """A case in JSON's types, without its name."""
    described = {field.name: getattr(case, field.name) for field in fields(case) if field.name != "label"}
    described |= {
        "dtype": str(case.dtype).removeprefix("torch."),
        "options": dict(case.options),
        "least_passes": case.least_passes,
    }
    return json.loads(json.dumps(described))


def to_json(run: Run) -> str:
    """JSON of a run. Medians, quartiles and ratios are written for readers; the samples are what is read back."""
    results = []
    for result in run.results:
        timings = {
            name: {
                **asdict(timing),
                "ms": timing.ms._asdict(),
                "times_ours": None if name == OURS else result.ratio(name)._asdict(),
            }
            for name, timing in result.timings.items()
        }
        share = result.share_of_copy
        results.append(
            {
                "name": result.name,
                "case": result.case,
                "timings": timings,
                "share_of_copy": share and share._asdict(),
                "absent": result.absent,
            }
        )
    document = {
        "schema": SCHEMA,
        "environment": asdict(run.environment),
        "settings": run.settings,
        "results": results,
    }
    return json.dumps(document, indent=1)


def from_json(text: str) -> Run:
    """Read what :func:`to_json` wrote.

    Raises:
        ValueError: not such a document, or of another schema.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        raise ValueError(f"schema {found!r}: this version reads results of schema {SCHEMA}")
    try:
        results = tuple(
            CaseResult(
                entry["name"],
                entry["case"],
                {name: _timing(timing) for name, timing in entry["timings"].items()},
                entry["absent"],
            )
            for entry in document["results"]
        )
        return Run(Environment(**document["environment"]), document["settings"], results)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not results of a benchmark: {error!r}") from error


def _timing(entry: Mapping[str, Any]) -> Timing:
    return Timing(tuple(entry["samples_ms"]), entry["peak_bytes"], entry["error"], entry["ran"])
