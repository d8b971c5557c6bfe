"""A run that never was."""

from gcnet.benchmarks.environment import Environment
from gcnet.benchmarks.results import CaseResult, Run, Timing


def environment(**changes):
    values = {
        "date": "2026-01-02T03:04:05+00:00",
        "commit": "0123abc",
        "versions": {"python": "3.11.7", "gcnet": "0.1.0", "torch": "2.14.1"},
        "system": "Linux",
        "processor": "Example(R) CPU 9",
        "cores": 4,
        "threads": 4,
        "capability": "AVX2",
        "memory_gib": 16.0,
        "load": 0.1,
        "allocator": "default",
        "variables": {},
    }
    return Environment(**{**values, **changes})


def result(name, times, *, op="global_context", passes=2, absent=None):
    mode = name.rpartition("/")[2]
    case = {
        "op": op,
        "shape": [2, 64, 7, 7],
        "mode": mode,
        "options": {},
        "dtype": "float32",
        "layout": "contiguous",
        "device": None,
        "compiled": False,
        "depths": [3, 4, 6, 3],
        "least_passes": passes,
    }
    timings = {
        who: Timing(tuple(samples), 2_500_000, 1e-7, "eager" if who == "gcnet" else None)
        for who, samples in times.items()
    }
    return CaseResult(name, case, timings, absent or {})


def run(**changes):
    results = (
        result("gc/a/forward", {"gcnet": [1, 1, 2], "mmcv": [3, 3, 6], "timm": [1.1, 0.9, 2], "copy": [0.5, 0.5, 1]}),
        result("gc/b/forward", {"gcnet": [2, 2, 2], "timm": [1, 1, 1], "copy": [1, 1, 1]}, absent={"mmcv": "too big"}),
        result(
            "network/r/forward", {"gcnet": [1.1] * 3, "plain": [1.0] * 3, "mmcv": [1.2] * 3}, op="network", passes=None
        ),
    )
    settings = {"device": "cpu", "rounds": 3, "seconds": 0.005, "quick": False, "graphs": False}
    return Run(environment(**changes), settings, results)
