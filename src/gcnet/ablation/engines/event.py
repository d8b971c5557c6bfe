"""What an engine tells while it works."""

from __future__ import annotations

from dataclasses import dataclass

from gcnet.ablation.row import Row


@dataclass(frozen=True)
class Started:
    """A run began, or began again in a new process after its first one died.

    Attributes:
        key: of the run.
    """

    key: str


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        key: of the run.
        share: of its steps, from 0 to 1.
        scores: of its last epoch by name; empty before the first.
    """

    key: str
    share: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Finished:
    """A run is over; the last event of its key.

    Attributes:
        key: of the run.
        row: its result.
    """

    key: str
    row: Row


@dataclass(frozen=True)
class Failed:
    """A run cannot be finished; the last event of its key.

    Attributes:
        key: of the run.
        error: why, in one line.
    """

    key: str
    error: str


Event = Started | Progress | Finished | Failed
