"""All runs of an ablation at a glance while they are trained."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rich import box
from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from gcnet.ablation.engines.event import Event, Finished, Progress, Started
from gcnet.ablation.row import Row
from gcnet.ablation.span import span

QUIET_SECONDS = 60.0  # between lines on progress where there is no terminal
LABEL = 18  # characters of a variant's name
MEAN = 12  # of a mean and its deviation
CELL = 5  # of a seed


@dataclass
class _Run:
    """What is known of one run.

    Attributes:
        name: for people.
        state: waiting, running, finished or failed.
        share: of its steps.
        score: from 0 to 1, of its last epoch.
        since: when it started, or was heard of first with ``first``.
        first: share at that time: more than 0 for one that goes on.
    """

    name: str
    state: str = "waiting"
    share: float = 0.0
    score: float = 0.0
    since: float = 0.0
    first: float | None = None

    def seconds(self, now: float) -> float | None:
        """Of the whole run, as it goes; None if that cannot be told yet."""
        if self.first is None or self.share - self.first < 0.02:
            return None
        return (now - self.since) / (self.share - self.first)


@dataclass
class Live:
    """One table of all runs, kept up to date in a terminal; elsewhere a line for each finished run.

    Args:
        title: of the table.
        variants: names of its rows.
        seeds: its columns.
        keys: variant -> seed -> key of the run.
        rows: finished runs by key.
        console: where to show; None for the terminal.

    Example:
        >>> from gcnet.ablation.engines.event import Failed
        >>> console = Console(width=80, force_terminal=False)
        >>> with Live("Block design", ["none", "gc"], [0], {"none": {0: "a"}, "gc": {0: "b"}}, {}, console) as live:
        ...     live.show(Failed("b", "the loss is not finite"))
        gc, seed 0: failed: the loss is not finite
    """

    title: str
    variants: Sequence[str]
    seeds: Sequence[int]
    keys: Mapping[str, Mapping[int, str]]
    rows: Mapping[str, Row]
    console: Console = field(default_factory=Console)

    def __post_init__(self) -> None:
        self._runs = {
            key: _Run(f"{variant}, seed {seed}")
            for variant in self.variants
            for seed, key in self.keys[variant].items()
        }
        for key, row in self.rows.items():
            if key in self._runs:
                self._finish(self._runs[key], row)
        self._lengths: list[float] = []
        self._began = self._line_at = time.monotonic()
        self._live: RichLive | None = None
        self._score = next((row.score for row in self.rows.values()), "")

    def __enter__(self) -> Live:
        if self.console.is_terminal:
            self._live = RichLive(console=self.console, get_renderable=self.render, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: Event) -> None:
        """Take an event of an engine."""
        run, now = self._runs[event.key], time.monotonic()
        if isinstance(event, Started):
            again = run.state == "running"
            run.state, run.share, run.since, run.first = "running", 0.0, now, None
            if again:
                self._say(f"{run.name}: its process died; it is started again")
        elif isinstance(event, Progress):
            run.share = event.share
            if run.first is None:
                run.first, run.since = event.share, now
        elif isinstance(event, Finished):
            if (length := run.seconds(now)) is not None:
                self._lengths.append(length)
            self._finish(run, event.row)
            if self._live is None:
                self._say(f"{run.name}: {event.row.score} {_percent(run.score)} % ({self.standing()})")
        else:
            run.state = "failed"
            self._say(f"{run.name}: failed: {event.error}")
        if self._live is None and now - self._line_at >= QUIET_SECONDS:
            running = ", ".join(f"{each.name} {each.share:.0%}" for each in self._in("running")[:4])
            self._say(f"{self.standing()}; {running or 'nothing is running'}")

    def standing(self) -> str:
        """Runs done and failed, time gone and left, in words."""
        done, failed = len(self._in("finished")), len(self._in("failed"))
        parts = [f"{done} of {len(self._runs)} runs", *([f"{failed} failed"] if failed else [])]
        parts.append(f"{span(time.monotonic() - self._began)} gone")
        left = self.seconds_left()
        return ", ".join([*parts, *([f"about {span(left)} left"] if left else [])])

    def seconds_left(self) -> float | None:
        """Until all runs are done, as fast as those finished and running; None if that cannot be told yet."""
        now = time.monotonic()
        running = self._in("running")
        going = [seconds for run in running if (seconds := run.seconds(now)) is not None]
        if not self._lengths and not going:
            return None
        usual = statistics.mean(self._lengths or going)
        work = usual * len(self._in("waiting")) + sum((run.seconds(now) or usual) * (1 - run.share) for run in running)
        return work / max(1, len(running))

    def render(self) -> Group:
        """The table: a column for every seed, or one for all where the terminal is too narrow."""
        label = min(LABEL, max(map(len, self.variants)))
        free = self.console.width - label - MEAN - 4
        wide = len(self.seeds) * (CELL + 2) <= free
        head = f"{self.title}: {self._score}, %" if self._score else self.title
        table = Table(box=box.SIMPLE_HEAD, title=head, title_justify="left", title_style="bold", padding=(0, 1, 0, 0))
        table.add_column("", no_wrap=True, width=label)
        table.add_column("mean ± sd", no_wrap=True, width=MEAN)
        for seed in self.seeds if wide else ():
            table.add_column(str(seed), justify="right", no_wrap=True, min_width=CELL)
        if not wide:
            table.add_column("seeds", overflow="fold")
        for variant in self.variants:
            runs = [self._runs[self.keys[variant][seed]] if seed in self.keys[variant] else None for seed in self.seeds]
            cells = [_cell(run) for run in runs] if wide else [Text.assemble(*map(_mark, runs))]
            table.add_row(Text(variant, overflow="ellipsis"), _mean(runs), *cells)
        below = [Text(self.standing(), style="bold")]
        if not wide:
            below += [
                Text("■ done  ▸ running  · waiting  x failed", style="dim"),
                *(Text(f"{run.name}: {run.share:.0%}", style="cyan") for run in self._in("running")[:4]),
            ]
        return Group(table, *below)

    def _finish(self, run: _Run, row: Row) -> None:
        run.state, run.score, self._score = "finished", row.metrics[row.score], row.score

    def _in(self, state: str) -> list[_Run]:
        return [run for run in self._runs.values() if run.state == state]

    def _say(self, line: str) -> None:
        self._line_at = time.monotonic()
        self.console.print(Text(line), soft_wrap=True)


def _percent(score: float) -> str:
    return f"{100 * score:.1f}"


def _cell(run: _Run | None) -> Text:
    if run is None:
        return Text("")
    if run.state == "finished":
        return Text(_percent(run.score), style="green")
    if run.state == "running":
        return Text(f"{run.share:.0%}", style="cyan")
    return Text("fail", style="bold red") if run.state == "failed" else Text("·", style="dim")


def _mark(run: _Run | None) -> tuple[str, str]:
    marks = {"finished": ("■", "green"), "running": ("▸", "cyan"), "waiting": ("·", "dim"), "failed": ("x", "bold red")}
    return marks[run.state] if run is not None else (" ", "")


def _mean(runs: Sequence[_Run | None]) -> Text:
    scores = [run.score for run in runs if run is not None and run.state == "finished"]
    if not scores:
        return Text("")
    spread = f" ± {_percent(statistics.stdev(scores))}" if len(scores) > 1 else ""
    return Text(_percent(statistics.mean(scores)) + spread, style="bold")
