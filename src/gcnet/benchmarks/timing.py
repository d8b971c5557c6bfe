"""Interleaved timing: every round times every contestant once, in random order, and ratios are taken within a round."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

#: Seconds that warm every contestant up, after calls that may compile.
WARM_UP = 0.1


class Quartiles(NamedTuple):
    """Lower quartile, median and upper quartile."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quartiles:
        """Quartiles of at least two values, interpolated linearly between ranks.

        Example:
            >>> from gcnet.benchmarks.timing import Quartiles
            >>> Quartiles.of([1.0, 2.0, 3.0, 10.0, 4.0])
            Quartiles(low=2.0, median=3.0, high=4.0)
        """
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Quartiles:
    """How many times longer theirs take than ours, from the ratio of each round.

    Example:
        >>> from gcnet.benchmarks.timing import ratios
        >>> ratios([1.0, 2.0, 1.0], [2.0, 4.0, 3.0]).median
        2.0
    """
    return Quartiles.of([their / our for our, their in zip(ours, theirs, strict=True)])


def stopwatch_cpu(run: Callable[[], object], count: int) -> float:
    """Seconds of ``count`` runs on the CPU."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return time.perf_counter() - start


def stopwatch_cuda(run: Callable[[], object], count: int) -> float:
    """Seconds between two events around ``count`` runs, on a device that was idle; includes waiting for launches."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(count):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


STOPWATCHES = {"cpu": stopwatch_cpu, "cuda": stopwatch_cuda}


def calibrate(timed: Callable[[int], float], seconds: float) -> int:
    """Warm a contestant up and find how many calls make one sample of at least ``seconds``."""
    timed(1)
    spent, count = 0.0, 1
    while True:
        taken = timed(count)
        spent += taken
        if taken < seconds:
            count = max(count + 1, min(10 * count, round(1.2 * count * seconds / max(taken, 1e-9))))
        elif spent >= min(WARM_UP, 20 * seconds):
            return count


def interleave(
    contestants: Mapping[str, Callable[[int], float]], *, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds of one call, ``rounds`` samples per contestant.

    Args:
        contestants: by name, the seconds that a number of calls take, such as a stopwatch with its first argument.
        rounds: every round takes one sample of each, in an order of its own.
        seconds: least length of a sample, reached by more calls within it.

    Example:
        >>> from functools import partial
        >>> from gcnet.benchmarks.timing import interleave, stopwatch_cpu
        >>> timed = {"a": partial(stopwatch_cpu, lambda: sum(range(9))), "b": partial(stopwatch_cpu, dict)}
        >>> [len(samples) for samples in interleave(timed, rounds=3, seconds=1e-4).values()]
        [3, 3]
    """
    counts = {name: calibrate(timed, seconds) for name, timed in contestants.items()}
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    order, shuffle = list(contestants), random.Random(0).shuffle
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                samples[name].append(contestants[name](counts[name]) / counts[name])
    finally:
        if collecting:
            gc.enable()
    return samples
