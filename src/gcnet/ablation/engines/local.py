"""Train jobs on this machine, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from threading import Thread
from typing import Any

import torch

from gcnet.ablation.engines.attempt import Busy, Run, attempt, one_line
from gcnet.ablation.engines.event import Event, Failed, Finished, Progress, Started
from gcnet.ablation.job import Job
from gcnet.ablation.row import Row
from gcnet.ablation.worker import Report, finished_row, run_job

ATTEMPTS = 2  # of a run whose process dies
LOOK_SECONDS = 1.0  # between looks at a run that another driver trains
STOP_SECONDS = 10.0  # that a worker has to stop by itself


def run_local(jobs: Sequence[Job], *, at_once: int = 1, run: Run = run_job) -> Iterator[Event]:
    """Train jobs, and tell what happens; nothing starts before the first event is asked for.

    A process that dies is started once more and goes on from the last checkpoint. A run that another driver trains
    is waited for, after all others. Closing the iterator, Ctrl-C, and the end of this process, however it ends, stop
    the workers. Where there are GPUs, every worker sees one of them, in turn.

    A script that calls this needs ``if __name__ == "__main__":`` around it, as always with multiprocessing.

    Args:
        jobs: to train, in this order.
        at_once: processes.
        run: what trains a job: a function that can be imported.

    Raises:
        ValueError: ``at_once`` is below 1.

    Example:
        >>> for event in run_local(jobs, at_once=2):  # doctest: +SKIP
        ...     print(event)
        Started(key='0f3c5b...')
    """
    if at_once < 1:
        raise ValueError(f"at_once={at_once} must be at least 1")
    return _Crew(jobs, at_once, run).events()


@dataclass
class _Waiting:
    """A job that is not being trained.

    Attributes:
        job: to train.
        attempts: whose process died.
        since: time before which it is not looked at.
    """

    job: Job
    attempts: int = 0
    since: float = 0.0


@dataclass
class _Worker:
    """A job and the process that trains it."""

    waiting: _Waiting
    slot: int
    process: ForkServerProcess
    pipe: Connection

    @property
    def key(self) -> str:
        """Of the job."""
        return self.waiting.job.key


@dataclass
class _Crew:
    """Workers, and the jobs left for them."""

    jobs: Sequence[Job]
    at_once: int
    run: Run
    workers: list[_Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = deque(_Waiting(job) for job in self.jobs)

    @cached_property
    def context(self) -> ForkServerContext:
        """Where workers come from."""
        return _context({job.config.task for job in self.jobs})

    @cached_property
    def gpus(self) -> list[str]:
        """What ``CUDA_VISIBLE_DEVICES`` calls the GPUs of this process."""
        if not torch.cuda.is_available():
            return []
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))

    def events(self) -> Iterator[Event]:
        """Until every job is finished or failed."""
        try:
            while self.waiting or self.workers:
                yield from self._start()
                ends: dict[Any, _Worker] = {
                    end: worker for worker in self.workers for end in (worker.pipe, worker.process.sentinel)
                }
                if not ends:
                    time.sleep(LOOK_SECONDS / 4)
                ready = wait(list(ends), timeout=LOOK_SECONDS)
                for worker in {worker.key: worker for worker in map(ends.__getitem__, ready)}.values():
                    yield from self._hear(worker)
        finally:
            self._stop()

    def _start(self) -> Iterator[Event]:
        """Give jobs to free slots."""
        for _ in range(len(self.waiting)):
            if len(self.workers) == self.at_once:
                return
            each = self.waiting.popleft()
            if (row := finished_row(each.job)) is not None:
                yield Finished(each.job.key, row)
            elif each.since > time.monotonic():
                self.waiting.append(each)
            else:
                self.workers.append(self._worker(each))

    def _worker(self, waiting: _Waiting) -> _Worker:
        slot = min(set(range(self.at_once)) - {worker.slot for worker in self.workers})
        gpu = self.gpus[slot % len(self.gpus)] if self.gpus else None
        pipe, theirs = multiprocessing.Pipe()
        process = self._process(waiting.job, gpu, theirs)
        theirs.close()
        return _Worker(waiting, slot, process, pipe)

    def _process(self, job: Job, gpu: str | None, pipe: Connection) -> ForkServerProcess:
        """Started; where the server of forks was killed, as by a lack of memory, by a new one."""
        for last in (False, True):
            process = self.context.Process(target=_work, args=(job, self.run, gpu, pipe), daemon=False)
            try:
                process.start()
                break
            except (EOFError, OSError):
                if last:
                    raise
                time.sleep(LOOK_SECONDS)
        return process

    def _hear(self, worker: _Worker) -> Iterator[Event]:
        """What a worker has to say, or that it is no more."""
        dead = not worker.process.is_alive()
        while True:
            try:
                said = worker.pipe.recv() if worker.pipe.poll() else None
            except (EOFError, OSError):
                said, dead = None, True
            if isinstance(said, Started | Progress):
                yield said
            elif said is not None:
                self._dismiss(worker)
                if isinstance(said, Busy):
                    self.waiting.append(_Waiting(worker.waiting.job, since=time.monotonic() + LOOK_SECONDS))
                else:
                    yield said
                return
            elif not dead:
                return
            else:
                self._dismiss(worker)
                yield from self._died(worker)
                return

    def _died(self, worker: _Worker) -> Iterator[Event]:
        attempts = worker.waiting.attempts + 1
        if attempts < ATTEMPTS:
            self.waiting.appendleft(_Waiting(worker.waiting.job, attempts))
        else:
            yield Failed(worker.key, f"{_how_it_ended(worker.process)} (attempt {attempts} of {ATTEMPTS})")

    def _dismiss(self, worker: _Worker) -> None:
        """Wait for the end of a worker that has said all, and end what it left behind."""
        worker.process.join(STOP_SECONDS)
        _kill(worker.process)
        worker.pipe.close()
        self.workers.remove(worker)

    def _stop(self) -> None:
        """End all workers: gently, and after ten seconds not."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.kill(worker.process.pid or 0, signal.SIGINT)
        until = time.monotonic() + STOP_SECONDS
        for worker in self.workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            _kill(worker.process)
            worker.pipe.close()
        self.workers.clear()


def _work(job: Job, run: Run, gpu: str | None, pipe: Connection) -> None:
    """The life of a worker."""
    os.setpgrp()  # Ctrl-C in a terminal reaches the driver alone, which then stops its workers
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Thread(target=_end_with_driver, args=(pipe,), daemon=True).start()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    if job.config.threads:
        os.environ["OMP_NUM_THREADS"] = str(job.config.threads)
        torch.set_num_threads(job.config.threads)

    def report(share: float, scores: dict[str, float]) -> None:
        pipe.send(Progress(job.key, share, scores))

    def begin(job: Job, report: Report) -> Row:
        pipe.send(Started(job.key))
        return run(job, report)

    try:
        pipe.send(Finished(job.key, attempt(job, begin, report)))
    except KeyboardInterrupt:
        pass
    except Busy as busy:
        pipe.send(busy)
    except Exception as error:
        pipe.send(Failed(job.key, one_line(error)))


def _end_with_driver(pipe: Connection) -> None:
    """End this process and its children when the driver, which never says anything, has closed its end."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _context(tasks: set[str]) -> ForkServerContext:
    """Processes that are forked from one that has imported everything, and computed nothing.

    Its BLAS is kept from starting threads, which would not survive the fork.
    """
    context = multiprocessing.get_context("forkserver")
    experiments = [f"gcnet.training.{task}.experiment" for task in sorted(tasks)]
    context.set_forkserver_preload(["gcnet.ablation.engines.local", *experiments])
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["OPENBLAS_NUM_THREADS"]
        if before is not None:
            os.environ["OPENBLAS_NUM_THREADS"] = before
    return context


def _kill(process: ForkServerProcess) -> None:
    """End a process and its children at once, if they are still there."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join()


def _how_it_ended(process: ForkServerProcess) -> str:
    code = process.exitcode or 0
    if code >= 0:
        return f"its process ended with exit code {code}"
    memory = "; if memory ran out, train fewer at once" if code == -signal.SIGKILL else ""
    return f"its process was killed by signal {-code} ({signal.Signals(-code).name}){memory}"
