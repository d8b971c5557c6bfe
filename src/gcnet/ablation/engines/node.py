"""One job as a task of Ray: checked against the node it got to, trained there, its small files sent to the driver."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import gcnet
from gcnet.ablation.engines.attempt import Busy, Run, attempt, one_line
from gcnet.ablation.engines.event import Failed, Finished, Progress, Started
from gcnet.ablation.identity import data_fingerprint, source_hash
from gcnet.ablation.job import Job
from gcnet.ablation.row import Row
from gcnet.ablation.worker import Report

REPORT_SECONDS = 2.0  # between reports of a run: many runs tell one driver
LARGEST = 5 * 2**20  # bytes of a file that is sent


class Outcome(NamedTuple):
    """What became of a task.

    Attributes:
        event: the last of the job; None if another process is at it.
        files: of the run's folder by their paths in it, if the driver is on another machine; no checkpoints.
    """

    event: Finished | Failed | None
    files: Mapping[str, bytes]


class Driver(NamedTuple):
    """What a task knows of its driver.

    Attributes:
        machine: that it is on; see :func:`machine`.
        paths: where it finds modules.
        queue: of Ray, that it takes events from.
    """

    machine: str
    paths: Sequence[str]
    queue: Any


def train_on_node(job: Job, run: Run, gpus: float, driver: Driver) -> Outcome:
    """Run a job on this node.

    Args:
        job: to run.
        run: what trains it.
        gpus: that Ray gave; 0 hides those of the node.
        driver: that asked for it.

    Example:
        >>> train_on_node(job, run_job, 0, driver).event  # doctest: +SKIP
        Finished(key='0f3c5b...', row=Row(...))
    """
    sys.path += [path for path in driver.paths if path not in sys.path]
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if job.config.threads:
        os.environ["OMP_NUM_THREADS"] = str(job.config.threads)
        torch.set_num_threads(job.config.threads)
    elsewhere = driver.machine != machine()

    def report(share: float, scores: dict[str, float]) -> None:
        _tell(driver.queue, Progress(job.key, share, scores))

    def begin(job: Job, report: Report) -> Row:
        if elsewhere:
            _check_data(job)
        _tell(driver.queue, Started(job.key))
        return run(job, report)

    event: Finished | Failed | None
    try:
        _check_sources(job)
        event = Finished(job.key, attempt(job, begin, report, every=REPORT_SECONDS))
    except Busy:
        event = None
    except Exception as error:
        event = Failed(job.key, one_line(error))
    return Outcome(event, small_files(job.folder) if elsewhere else {})


def machine() -> str:
    """What tells this machine, as it was booted, from all others."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else os.uname().nodename


def small_files(folder: Path) -> dict[str, bytes]:
    """The files of a run's folder by their paths in it, without checkpoints, hidden and large ones.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "log.txt").write_text("epoch 1")
        >>> small_files(folder)
        {'log.txt': b'epoch 1'}
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = name.parts[0] == "checkpoints" or any(part.startswith(".") for part in name.parts)
        if path.is_file() and not hidden and path.stat().st_size <= LARGEST:
            found[name.as_posix()] = path.read_bytes()
    return found


def _check_sources(job: Job) -> None:
    here = source_hash(job.config)
    if here != job.sources:
        raise ValueError(
            f"sources={job.sources}: {Path(gcnet.__file__).parent} on {os.uname().nodename}, or the file of the block, "
            f"has other contents ({here}); every node needs the version of the driver"
        )


def _check_data(job: Job) -> None:
    """A data set that every node has to have at the same path."""
    data, node = job.config.data, os.uname().nodename
    if not data.exists():
        raise ValueError(f"data={data}: is not on {node}; put it at this path on every node")
    here = data_fingerprint(data)
    if here != job.data:
        raise ValueError(f"data={data}: has other contents on {node} ({here}) than on the driver ({job.data})")


def _tell(queue: Any, event: Started | Progress) -> None:
    """Progress is a courtesy: a run goes on without it."""
    from ray.exceptions import RayError

    try:
        queue.put_nowait(event)
    except RayError:
        print(f"{type(event).__name__} could not be told to the driver")
