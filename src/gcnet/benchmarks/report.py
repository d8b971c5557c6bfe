"""Results as text: what was run where, aligned tables, and what was not run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from gcnet.analysis.table import format_table
from gcnet.benchmarks.peers import FLOORS, OURS
from gcnet.benchmarks.results import CaseResult, Run
from gcnet.benchmarks.timing import Quartiles

LEGEND = (
    "gcnet ms: median of one call. Other columns: how many times longer than gcnet, median [lower quartile, upper\n"
    "quartile] of the ratios within a round. '!' gcnet is slower, '~' the quartiles enclose 1: a tie.\n"
    "of copy: bandwidth of gcnet as a share of a copy's, counting only the reads and writes of the map that no\n"
    "implementation can avoid."
)
_QUICK = "QUICK: few short rounds, a look and not a measurement"


def text(run: Run) -> str:
    """The whole report.

    Example:
        >>> from gcnet.benchmarks.cases import select
        >>> from gcnet.benchmarks.report import text
        >>> from gcnet.benchmarks.runner import Settings, run
        >>> cases = [case.shrunk() for case in select(["gc/tiny/forward"], "cpu")]
        >>> print(text(run(cases, ["copy"], Settings("cpu", rounds=2, seconds=1e-5))))
        gcnet bench on ...
        case             input     gcnet ms  of copy
        --------------------------------------------
        gc/tiny/forward  1x64x7x6 ...
    """
    groups: dict[str, list[CaseResult]] = defaultdict(list)
    for result in run.results:
        groups[result.case["op"]].append(result)
    parts = [heading(run), *(_times(results) for results in groups.values()), LEGEND]
    parts += [_overheads(groups.get("network", [])), _memory(run.results)]
    return "\n\n".join(part for part in (*parts, _absences(run.results)) if part)


def heading(run: Run) -> str:
    """Where, with what and how, in a few lines."""
    made, settings = run.environment, run.settings
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    where = made.gpu or f"{made.processor}, {made.cores} cores"
    lines = [
        f"gcnet bench on {where}",
        f"  {versions}",
        f"  {made.threads} threads, {made.capability}, {made.memory_gib} GiB, load {made.load}, {made.system}",
        f"  {made.allocator} allocator; {settings['rounds']} rounds of {1e3 * settings['seconds']:g} ms or more",
        f"  {made.date}, commit {made.commit or 'unknown'}",
    ]
    if made.gpu:
        launches = "CUDA graphs" if settings["graphs"] else "launched from Python"
        lines.insert(2, f"  driver {made.driver}, CUDA {made.cuda}, {made.gpu_memory_gib} GiB on the GPU, {launches}")
    if made.load is not None and made.load > made.cores:
        lines.append(f"  BUSY: a load of {made.load} on {made.cores} cores when it started; expect noise")
    if settings["quick"]:
        lines.append(f"  {_QUICK}")
    return "\n".join(lines)


def contestant_names(results: Iterable[CaseResult]) -> list[str]:
    """Everybody but ours that was timed in one of the results, in order of appearance."""
    return list(dict.fromkeys(name for result in results for name in result.timings if name != OURS))


def verdict(ratio: Quartiles) -> str:
    """``"loss"``, ``"tie"`` or ``"win"`` of ours, from how many times longer the other takes.

    Example:
        >>> from gcnet.benchmarks.report import verdict
        >>> from gcnet.benchmarks.timing import Quartiles
        >>> verdict(Quartiles(0.7, 0.8, 0.9)), verdict(Quartiles(0.9, 1.1, 1.2)), verdict(Quartiles(1.5, 1.6, 1.7))
        ('loss', 'tie', 'win')
    """
    if ratio.low <= 1 <= ratio.high:
        return "tie"
    return "win" if ratio.median > 1 else "loss"


def _times(results: Sequence[CaseResult]) -> str:
    names = [name for name in contestant_names(results) if name != "copy"]
    shares = any(result.share_of_copy for result in results)
    head = ["case", "input", "gcnet ms", *names, *(["of copy"] if shares else [])]
    rows = []
    for result in results:
        row = [result.name, "x".join(map(str, result.case["shape"])), f"{result.timings[OURS].ms.median:.4g}"]
        row += [_ratio(result, name) for name in names]
        share = result.share_of_copy
        row += [f"{share.median:.0%}" if share else "-"] if shares else []
        rows.append(row)
    return format_table(head, rows, left=2)


def _ratio(result: CaseResult, name: str) -> str:
    if name not in result.timings:
        return "- "
    ratio = result.ratio(name)
    mark = " " if name in FLOORS else {"loss": "!", "tie": "~", "win": " "}[verdict(ratio)]
    low, median, high = (f"{value:.2f}" for value in ratio)
    return f"{median} [{low}, {high}]{mark}"


def _memory(results: Sequence[CaseResult]) -> str:
    names = [OURS, *(name for name in contestant_names(results) if name != "copy")]
    rows = [
        [
            result.name,
            *(f"{result.timings[name].peak_bytes / 1e6:.4g}" if name in result.timings else "-" for name in names),
        ]
        for result in results
    ]
    return "Most memory of one call beyond its inputs and weights, MB\n\n" + format_table(["case", *names], rows)


def _overheads(results: Sequence[CaseResult]) -> str:
    """What blocks add to a network's time, per contestant."""
    rows = []
    names = [name for name in (OURS, *contestant_names(results)) if name != "plain"]
    for result in results:
        if "plain" in result.timings:
            rows.append([result.name, *(_overhead(result, name) for name in names)])
    if not rows:
        return ""
    return "Time that GC blocks add to plain ResNet-50, of the plain network's time\n\n" + format_table(
        ["case", *names], rows
    )


def _overhead(result: CaseResult, name: str) -> str:
    if name not in result.timings:
        return "-"
    rounds = zip(result.timings[name].samples_ms, result.timings["plain"].samples_ms, strict=True)
    low, median, high = Quartiles.of([with_blocks / plain - 1 for with_blocks, plain in rounds])
    return f"{median:+.1%} [{low:+.1%}, {high:+.1%}]"


def _absences(results: Sequence[CaseResult]) -> str:
    """Who did not run where, and why."""
    cases: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in results:
        for name, reason in result.absent.items():
            cases[name, reason].append(result.name)
    lines = []
    for (name, reason), where in cases.items():
        place = where[0] if len(where) == 1 else f"{len(where)} cases"
        lines.append(f"  {name}: {reason} ({place})")
    return "\n".join(["not run", *lines]) if lines else ""
