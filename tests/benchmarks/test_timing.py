"""The statistics, on made-up samples; nothing is timed."""

import gc

import pytest

from gcnet.benchmarks import timing
from gcnet.benchmarks.timing import Quartiles, calibrate, interleave, ratios


def test_quartiles_interpolate_between_ranks():
    assert Quartiles.of([4.0, 1.0, 3.0, 2.0]) == (1.75, 2.5, 3.25)
    assert Quartiles.of([7.0, 7.0]) == (7.0, 7.0, 7.0)


def test_ratios_are_taken_within_a_round():
    ours = [1.0, 10.0, 1.0, 10.0, 1.0]  # a machine that is ten times slower every other round
    theirs = [2.0, 20.0, 2.0, 20.0, 2.0]
    assert ratios(ours, theirs) == (2.0, 2.0, 2.0)


def test_rounds_must_match():
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0, 2.0, 3.0])


class Clock:
    """A contestant that pretends to take ``seconds`` per call, and remembers who was timed when."""

    def __init__(self, name, seconds, log):
        self.name, self.seconds, self.log = name, seconds, log

    def __call__(self, count):
        self.log.append((self.name, count))
        return count * self.seconds


@pytest.mark.parametrize("seconds", [1e-7, 1e-5, 1e-3, 1.0])
def test_samples_are_long_enough_and_not_much_longer(seconds):
    count = calibrate(Clock("a", seconds, []), 0.005)
    assert count * seconds >= 0.005
    assert count * seconds <= max(0.0075, seconds)


def test_every_round_times_everybody_in_an_order_of_its_own():
    log = []
    clocks = {name: Clock(name, seconds, log) for name, seconds in (("a", 1e-3), ("b", 2e-3), ("c", 4e-3))}
    samples = interleave(clocks, rounds=10, seconds=0.004)
    assert samples == {"a": [1e-3] * 10, "b": [2e-3] * 10, "c": [4e-3] * 10}
    rounds = [tuple(name for name, _ in log[-30 + 3 * i : len(log) - 27 + 3 * i]) for i in range(10)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 2


def test_the_collector_rests_during_the_rounds_and_runs_again_after_an_error():
    seen = []

    def timed(count):
        seen.append(gc.isenabled())
        if len(seen) > 40:
            raise RuntimeError
        return 0.01

    interleave({"a": timed}, rounds=3, seconds=0.001)
    assert not any(seen[-3:])
    assert gc.isenabled()
    with pytest.raises(RuntimeError):
        interleave({"a": timed}, rounds=100, seconds=0.001)
    assert gc.isenabled()


def test_the_stopwatch_runs_as_often_as_it_says():
    calls = []
    assert timing.stopwatch_cpu(lambda: calls.append(1), 7) > 0
    assert len(calls) == 7
