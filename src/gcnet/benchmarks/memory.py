"""Peak memory of one call, above what was allocated before it."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate

import torch

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler reports its start and stop otherwise


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """Most bytes that ``run`` held at one time beyond those held before it.

    CUDA: the caching allocator's own peak. CPU: the running sum of allocations and frees that the profiler sees, which
    are those of PyTorch's allocator; scratch memory of oneDNN or of native code is not among them.

    Example:
        >>> import torch
        >>> from gcnet.benchmarks.memory import peak_bytes
        >>> peak_bytes(lambda: torch.empty(1000, dtype=torch.float32), "cpu")
        4000
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(changes), default=0)
