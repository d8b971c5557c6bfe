"""One trained run as a row of results: plain values only, so that it goes into any database and over any network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one run was, cost and reached.

    Attributes:
        key: identity of the run; see :mod:`gcnet.ablation.identity`.
        task: classification, detection, segmentation or video.
        config: the resolved configuration as plain values, with "task".
        seed: of the configuration.
        threads: of torch in the run, on a CPU.
        sources: hash of the source files that affect results.
        data: fingerprint of the data.
        score: name of the main score, such as "val_top1".
        metrics: every score after the last epoch, by name, and the main score's best epoch as "best".
        parameters: of the network.
        added_parameters: of its blocks.
        macs: multiply-adds of one input of ``input_shape``.
        input_shape: of one input, batch of one included.
        latency_ms: of one pass in eval mode over that input, median, milliseconds.
        latency_ratio: latency of this network / that of the plain one, timed in turn: lower quartile, median, upper
            quartile.
        memory_mb: largest memory of the process that trained, or of its GPU.
        seconds: of the training alone.
        versions: of gcnet, torch and so on.
        hardware: name of the GPU or CPU, and number of cores or of GPUs.
        started: time in UTC, ISO 8601.
        finished: likewise.
        folder: of the run, where it was trained.
    """

    key: str
    task: str
    config: Mapping[str, Any]
    seed: int
    threads: int
    sources: str
    data: str
    score: str
    metrics: Mapping[str, float]
    parameters: int
    added_parameters: int
    macs: int
    input_shape: tuple[int, ...]
    latency_ms: float
    latency_ratio: tuple[float, float, float]
    memory_mb: float
    seconds: float
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    started: str
    finished: str
    folder: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The inverse of :meth:`to_dict`, also after a round trip through JSON."""
        tuples = {name: tuple(values[name]) for name in ("input_shape", "latency_ratio")}
        return cls(**{**values, **tuples})
