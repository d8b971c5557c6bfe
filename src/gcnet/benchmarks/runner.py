"""Run cases: first everybody's parity, then everybody's times."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from gcnet.benchmarks import parity
from gcnet.benchmarks.cases import FORWARD, Case
from gcnet.benchmarks.environment import environment
from gcnet.benchmarks.memory import peak_bytes
from gcnet.benchmarks.peers import DEFAULTS, OURS, Contestant, contestants
from gcnet.benchmarks.results import CaseResult, Run, Timing, describe
from gcnet.benchmarks.timing import STOPWATCHES, interleave
from gcnet.benchmarks.workload import Inputs, build, call, inputs
from gcnet.ops.backend import BACKENDS


@dataclass(frozen=True)
class Settings:
    """How to run.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        rounds: samples per contestant.
        seconds: least length of a sample.
        quick: a look, not a measurement: few short rounds.
        graphs: replay CUDA graphs, which leaves out the launches from Python.
    """

    device: str
    rounds: int = 20
    seconds: float = 0.005
    quick: bool = False
    graphs: bool = False


@dataclass
class _Admitted:
    """What the check of one case found."""

    names: list[str]
    errors: dict[str, float]
    ran: dict[str, str]
    absent: dict[str, str]


def run(
    cases: Sequence[Case],
    peers: Sequence[str] | None,
    settings: Settings,
    progress: Callable[[str], None] = lambda line: None,
) -> Run:
    """Check every case, then time every case.

    Args:
        cases: what to run.
        peers: contestants beside ours, by name, None for the usual ones; those that cannot run a case are named in its
            result.
        settings: how to run.
        progress: told what is being done.

    Raises:
        ParityError: a contestant computes something else; nothing was timed.
    """
    made = environment(settings.device)
    admitted, results = [], []
    for number, case in enumerate(cases, 1):
        progress(f"parity {number}/{len(cases)}  {case.name}")
        with _tensor_float32(False):
            admitted.append(_check(case, DEFAULTS[case.op] if peers is None else peers, settings))
    for number, (case, check) in enumerate(zip(cases, admitted, strict=True), 1):
        progress(f"timing {number}/{len(cases)}  {case.name}")
        with _tensor_float32(case.op == "network"):
            results.append(_time(case, check, settings))
    return Run(made, dict(vars(settings)), tuple(results))


def _check(case: Case, peers: Sequence[str], settings: Settings) -> _Admitted:
    case, ours, given = parity.prepare(case, settings.device)
    made, absent = contestants(case, ours, peers)
    truth = parity.exact(case, ours, given)
    found = _Admitted([], {}, {}, absent)
    for one in made:
        try:
            with _logged_backend() as ran:
                if one.floor:
                    _sweep(one, case, [given])()
                else:
                    found.errors[one.name] = parity.check(case, one, truth, given)
        except Exception as error:
            if one.name == OURS or isinstance(error, parity.ParityError):
                raise
            found.absent[one.name] = _reason(error)
        else:
            if one.name in BACKENDS and one.name not in ran:
                found.absent[one.name] = f"{', '.join(dict.fromkeys(ran)) or 'nothing of ours'} ran in its place"
                continue
            if one.name != OURS:
                found.names.append(one.name)
            if ran and one.name in (OURS, *BACKENDS):
                found.ran[one.name] = ", ".join(dict.fromkeys(ran))
    _forget()
    return found


def _time(case: Case, check: _Admitted, settings: Settings) -> CaseResult:
    ours = build(case, settings.device)
    made, _ = contestants(case, ours, check.names)
    given = inputs(case, settings.device, turns(case, settings.device))
    peaks = {}
    for one in made:
        once = _sweep(one, case, given[:1])
        with one.scope():
            once()  # what is compiled or cached in the first call is not the call's
            peaks[one.name] = peak_bytes(once, settings.device)
    timed, absent = {}, dict(check.absent)
    for one in made:
        try:
            timed[one.name] = _timed(one, case, given, settings)
        except RuntimeError as error:  # what a CUDA graph cannot capture
            if one.name == OURS:
                raise
            absent[one.name] = _reason(error)
    samples = interleave(timed, rounds=settings.rounds, seconds=settings.seconds)
    timings = {
        name: Timing(
            tuple(float(f"{1e3 * seconds / len(given):.5g}") for seconds in taken),
            peaks[name],
            check.errors.get(name),
            check.ran.get(name),
        )
        for name, taken in samples.items()
    }
    _forget()
    return CaseResult(case.name, describe(case), timings, absent)


def turns(case: Case, device: str) -> int:
    """How many inputs take turns: on CUDA enough to fill the L2 cache three times, so that none is found there."""
    if device != "cuda" or case.op == "network":
        return 1
    size = torch.Size(case.shape).numel() * case.dtype.itemsize
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    return max(1, min(64, -(-3 * cache // size)))


def _timed(one: Contestant, case: Case, given: Sequence[Inputs], settings: Settings) -> Callable[[int], float]:
    """Seconds that a number of sweeps over the inputs take one contestant."""
    sweep = _sweep(one, case, given)
    stopwatch = STOPWATCHES[settings.device]
    if settings.graphs and settings.device == "cuda":
        with one.scope():
            sweep = _captured(sweep)

    def timed(count: int) -> float:
        with one.scope():
            return stopwatch(sweep, count)

    return timed


def _sweep(one: Contestant, case: Case, given: Sequence[Inputs]) -> Callable[[], object]:
    """One call on each of the inputs. The copy of a map has no backward and is timed as it is."""
    if one.floor and case.op != "network":
        case = replace(case, mode=FORWARD)

    def sweep() -> None:
        for each in given:
            call(one.module, case, each)

    return sweep


def _captured(sweep: Callable[[], object]) -> Callable[[], object]:
    """The same as a CUDA graph, captured after a warm-up on a side stream."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            sweep()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        sweep()
    return graph.replay


@contextmanager
def _logged_backend() -> Iterator[list[str]]:
    """The names of our implementations that are chosen inside, from the log of the choice."""
    logger, found = logging.getLogger("gcnet.ops.backend"), list[str]()

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage().rpartition(": ")[2])

    handler, level, propagate = Collect(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


@contextmanager
def _tensor_float32(allowed: bool) -> Iterator[None]:
    """Let CUDA's convolutions in float32 round their inputs to TF32, or not; PyTorch's default is to let them."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _forget() -> None:
    """Drop compiled code and cached memory, so that one case does not change the next."""
    if "torch._dynamo" in sys.modules:  # importing the compiler to reset it takes seconds
        torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
