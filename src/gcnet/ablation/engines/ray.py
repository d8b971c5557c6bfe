"""Train jobs on a Ray cluster, or on a local one that is started for them."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import gcnet
from gcnet.ablation.engines.attempt import Run, one_line
from gcnet.ablation.engines.event import Event, Failed, Finished
from gcnet.ablation.engines.node import Driver, Outcome, machine, train_on_node
from gcnet.ablation.job import Job
from gcnet.ablation.worker import ROW, finished_row, run_job
from gcnet.files import whole_file
from gcnet.training.run_folder import save_json

LOOK_SECONDS = 0.5  # between looks at the cluster
BUSY_SECONDS = 5.0  # before a run that another driver trains is looked at again
SYSTEM = {"worker_niceness": 0}  # not 15: runs are timed, and other processes would come first
OBJECT_STORE = 100 * 2**20  # bytes; rows and small files go through it


def run_ray(
    jobs: Sequence[Job],
    *,
    address: str | None = None,
    cpus: float,
    gpus: float = 0,
    retries: int = 2,
    at_once: int | None = None,
    run: Run = run_job,
) -> Iterator[Event]:
    """Train every job as a task of Ray, and tell what happens; nothing starts before the first event is asked for.

    A run whose worker dies is started again: from its last checkpoint where its folder is on a file system that the
    nodes share, else anew. The row comes back, and from other machines the small files of the folder. Where data are
    not made scenes, every node has to have them at the same path. A cluster that is there already gets the gcnet of
    this process, and the modules of blocks that are not installed packages; other packages have to be installed there.

    Args:
        jobs: to train, in this order.
        address: of a cluster: "auto", "ray://HOST:10001" or HOST:6379; None to start one on this machine, which ends
            with the iterator.
        cpus: that each run takes of its node.
        gpus: likewise, from 0 (trained on the CPU) to 1; 0.5 lets two runs share one.
        retries: attempts after a worker died.
        at_once: runs that are handed to the cluster at a time; None for all.
        run: what trains a job: a function that workers can import.

    Raises:
        ModuleNotFoundError: ray is not installed.
        ValueError: naming the argument that does not fit, or an address without a cluster, at the first event.

    Example:
        >>> for event in run_ray(jobs, address="auto", cpus=2, gpus=0.5):  # doctest: +SKIP
        ...     print(event)
        Started(key='0f3c5b...')
    """
    if cpus <= 0:
        raise ValueError(f"cpus={cpus} must be positive")
    if not 0 <= gpus <= 1:
        raise ValueError(f"gpus={gpus} must lie between 0 and 1: a run is one process")
    if retries < 0:
        raise ValueError(f"retries={retries} must be at least 0")
    if at_once is not None and at_once < 1:
        raise ValueError(f"at_once={at_once} must be at least 1, or None for all")
    try:
        import_module("ray")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('engine ray needs Ray: pip install "gcnet[ray]"', name="ray") from error
    return _events([_absolute(job) for job in jobs], address, cpus, gpus, retries, at_once or len(jobs), run)


def _events(
    jobs: Sequence[Job], address: str | None, cpus: float, gpus: float, retries: int, at_once: int, run: Run
) -> Iterator[Event]:
    import ray
    from ray.util.queue import Queue

    waiting = deque((0.0, job) for job in jobs)
    tasks: dict[Any, Job] = {}
    with _cluster(address, jobs):
        _check_resources(address, cpus, gpus)
        queue = Queue(actor_options={"num_cpus": 0})
        driver = ray.put(Driver(machine(), sys.path, queue))
        # A process per run: its memory is its own, and a GPU is free afterwards.
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries, max_calls=1)(train_on_node)
        try:
            while waiting or tasks:
                for _ in range(len(waiting)):
                    since, job = waiting.popleft()
                    if (row := finished_row(job)) is not None:
                        yield Finished(job.key, row)
                    elif len(tasks) == at_once or since > time.monotonic():
                        waiting.append((since, job))
                    else:
                        tasks[task.remote(job, run, gpus, driver)] = job
                ended = ray.wait(list(tasks), num_returns=len(tasks), timeout=LOOK_SECONDS)[0] if tasks else []
                if not tasks:
                    time.sleep(LOOK_SECONDS)
                running = {job.key for job in tasks.values()}
                yield from (event for event in _told(queue) if event.key in running)
                for reference in ended:
                    job = tasks.pop(reference)
                    outcome = _outcome(reference, job, retries)
                    _gather(job, outcome)
                    if outcome.event is None:
                        waiting.append((time.monotonic() + BUSY_SECONDS, job))
                    else:
                        yield outcome.event
        finally:
            for reference in tasks:
                with suppress(Exception):
                    ray.cancel(reference, force=True)
            queue.shutdown(force=True)


@contextmanager
def _cluster(address: str | None, jobs: Sequence[Job]) -> Iterator[None]:
    """A connection, unless there is one; Ray's own messages are kept out of the terminal."""
    import ray

    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        sizes: dict[str, Any] = {
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE,
            "_system_config": SYSTEM,
        }
        ray.init(address="local", **sizes, **quiet)
    else:
        try:
            ray.init(address=address, runtime_env={"py_modules": _shipped(jobs)}, **quiet)
        except ConnectionError as error:
            raise ValueError(
                f"address={address!r}: no Ray cluster there ({one_line(error)}); start one by `ray start --head`, or "
                "leave the address out for one on this machine"
            ) from error
    with _unprinted():
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _unprinted() -> Iterator[None]:
    """Ray prints the death of every worker into the terminal, through no logger; events tell it here."""
    printing = import_module("ray._private.worker")
    before = getattr(printing, "print_to_stdstream", None)
    vars(printing)["print_to_stdstream"] = lambda *_, **__: None
    try:
        yield
    finally:
        vars(printing)["print_to_stdstream"] = before


def _shipped(jobs: Sequence[Job]) -> list[str]:
    """gcnet, and the files or packages of blocks that are not installed."""
    sources = sorted({job.config.block.partition(":")[0] for job in jobs if ":" in job.config.block})
    found = [Path(gcnet.__file__).parent]
    for source in sources:
        module = import_module(source.partition(".")[0])
        path = Path(module.__file__ or "")
        if path.is_file() and not {"site-packages", "dist-packages"} & set(path.parts):
            found.append(path.parent if path.name == "__init__.py" else path)
    return [str(path) for path in dict.fromkeys(found)]


def _check_resources(address: str | None, cpus: float, gpus: float) -> None:
    """A local cluster does not grow: what it cannot give is never given. Another one may, so that is a warning."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, asked in (("CPU", cpus), ("GPU", gpus)):
        most = max((node.get(name, 0) for node in nodes), default=0)
        if asked <= most:
            continue
        if address is None:
            raise ValueError(f"{name.lower()}s={asked}: this machine has {most:g}")
        warnings.warn(
            f"{name.lower()}s={asked:g}: no node of the cluster has more than {most:g}; runs wait until one joins",
            stacklevel=2,
        )


def _told(queue: Any) -> list[Any]:
    """What workers have told since the last look; nothing if the queue was lost with its node."""
    from ray.exceptions import RayError

    try:
        return list(queue.get_nowait_batch(queue.size()))
    except RayError:
        return []


def _outcome(reference: Any, job: Job, retries: int) -> Outcome:
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        outcome: Outcome = ray.get(reference)
        return outcome
    except RayTaskError as error:  # before the job began: what it needs cannot be imported
        return Outcome(Failed(job.key, one_line(error.cause or error)), {})
    except RayError as error:
        text = f"its worker died ({one_line(error)}) in each of {retries + 1} attempts"
        return Outcome(Failed(job.key, text), {})


def _gather(job: Job, outcome: Outcome) -> None:
    """Keep what came from another machine, unless the folder is the same there."""
    if (job.folder / ROW).exists():
        return
    for name, content in outcome.files.items():
        path = job.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(content)
    if isinstance(outcome.event, Finished):
        job.folder.mkdir(parents=True, exist_ok=True)
        save_json(job.folder / ROW, outcome.event.row.to_dict())


def _absolute(job: Job) -> Job:
    """Workers stand in other folders."""
    config = dataclasses.replace(job.config, data=job.config.data.absolute())
    return dataclasses.replace(job, config=config, folder=job.folder.absolute())
