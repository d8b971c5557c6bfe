"""Run what a plan lacks, and keep every result as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple

from gcnet.ablation.engines.event import Event, Failed, Finished
from gcnet.ablation.row import Row

if TYPE_CHECKING:
    from gcnet.ablation.plan import Plan, Standing
    from gcnet.ablation.store import Store


class Outcome(NamedTuple):
    """What became of the runs of a plan.

    Attributes:
        rows: of the finished ones, by key.
        failed: why the others failed, by key.
    """

    rows: dict[str, Row]
    failed: dict[str, str]


def drive(plan: Plan, found: Standing, events: Iterator[Event], store: Store, show: Callable[[Event], None]) -> Outcome:
    """Take the events of an engine until it is done.

    Args:
        plan: of the runs.
        found: what there was of them; rows that only their folders had are kept first.
        events: of an engine that runs ``found.to_run``.
        store: keeps every row and every failure at once.
        show: is told every event after that.

    Raises:
        KeyboardInterrupt: Ctrl-C; says how much is finished and kept.

    Example:
        >>> drive(plan, found, run_local(found.to_run), store, print).failed  # doctest: +SKIP
        {}
    """
    for row in found.found.values():
        store.add(row)
    rows, failed = found.rows, dict[str, str]()
    try:
        for event in events:
            if isinstance(event, Finished):
                store.add(event.row)
                rows[event.key] = event.row
            elif isinstance(event, Failed):
                store.fail(event.key, event.error)
                failed[event.key] = event.error
            show(event)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"Stopped: {len(rows)} of {len(plan.jobs)} runs are finished and kept; the same command goes on"
        ) from None
    finally:
        if isinstance(events, Generator):
            events.close()  # stops what still runs
    return Outcome(rows, failed)
