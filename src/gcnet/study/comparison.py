"""What two forms of a network cost, and how long they take in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.analysis import cost
from gcnet.analysis.table import with_unit
from gcnet.benchmarks.timing import STOPWATCHES, Quartiles, interleave, ratios

ROUNDS, SECONDS = 21, 0.05


@dataclass(frozen=True)
class Comparison:
    """Before and after.

    Attributes:
        shape: of the input, one sample.
        params: parameters.
        macs: multiply-adds of that sample; see :func:`gcnet.analysis.cost.cost`.
        seconds: of one pass, quartiles over rounds that time both in turn.
        speedup: before / after within a round, quartiles.
        device: that it was timed on.
        threads: of torch, for a CPU.
    """

    shape: tuple[int, ...]
    params: tuple[int, int]
    macs: tuple[int, int]
    seconds: tuple[Quartiles, Quartiles]
    speedup: Quartiles
    device: str
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {
            **asdict(self),
            "seconds": [quartiles._asdict() for quartiles in self.seconds],
            "speedup": self.speedup._asdict(),
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Name, before and after, for a table."""
        before, after = (f"{1e3 * quartiles.median:.2f}" for quartiles in self.seconds)
        return [
            ("parameters", with_unit(self.params[0]), with_unit(self.params[1])),
            ("multiply-adds", with_unit(self.macs[0]), with_unit(self.macs[1])),
            ("milliseconds", before, after),
        ]

    def __str__(self) -> str:
        where = self.device if self.device != "cpu" else f"cpu with {self.threads} thread{'s' * (self.threads > 1)}"
        low, median, high = self.speedup
        return (
            f"{median:.3f} times as fast, quartiles {low:.3f} to {high:.3f} of {ROUNDS} rounds that time both; "
            f"input {'x'.join(map(str, self.shape))} on {where}"
        )


def compare(
    nets: tuple[nn.Module, nn.Module], forwards: Sequence[Callable[[Tensor], Any]], shape: tuple[int, ...]
) -> Comparison:
    """Count and time two networks in eval mode on one device.

    Args:
        nets: before and after.
        forwards: what is timed of each.
        shape: of the input.
    """
    costs = [cost(net, shape) for net in nets]
    like = next(nets[0].parameters())
    inputs = torch.randn(shape, dtype=like.dtype, device=like.device)
    stopwatch = STOPWATCHES[like.device.type]
    with torch.inference_mode():
        timed = {
            name: partial(stopwatch, partial(forward, inputs))
            for name, forward in zip(("before", "after"), forwards, strict=True)
        }
        samples = interleave(timed, rounds=ROUNDS, seconds=SECONDS)
    before, after = samples["before"], samples["after"]
    return Comparison(
        shape,
        (costs[0].params, costs[1].params),
        (costs[0].macs, costs[1].macs),
        (Quartiles.of(before), Quartiles.of(after)),
        ratios(after, before),
        like.device.type,
        torch.get_num_threads(),
    )
