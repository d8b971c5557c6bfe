"""One attempt at a job, in a process of its own; the same in every engine."""

from __future__ import annotations

import fcntl
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from gcnet.ablation.job import Job
from gcnet.ablation.row import Row
from gcnet.ablation.worker import Report, finished_row
from gcnet.training.run import TrainingStopped

#: What trains a job: :func:`gcnet.ablation.worker.run_job`.
Run = Callable[[Job, Report], Row]

LOG = "log.txt"
REPORT_SECONDS = 0.3  # at least between two reports of a run
LONGEST_ERROR = 500  # characters
SAYS_ALL = (ValueError, TrainingStopped, FileNotFoundError)  # whose messages need no name of the class
TRAINED_ELSEWHERE = "another process trains there"  # of gcnet.training.run_folder.locked


class Busy(Exception):
    """Another process is at this job; its row will appear in the folder, or the folder will be free again."""


def attempt(job: Job, run: Run, report: Report, *, every: float = REPORT_SECONDS) -> Row:
    """Run a job unless another process does; what it prints goes to ``log.txt`` in its folder.

    Args:
        job: to run.
        run: what trains it.
        report: is told how far it is.
        every: seconds at least between two reports, unless scores are new.

    Raises:
        Busy: another process is at it.
        ValueError: it asks for several processes, or its folder cannot be written; and whatever ``run`` raises.

    Example:
        >>> attempt(job, run_job, print)  # doctest: +SKIP
        Row(...)
    """
    if job.config.devices > 1 or job.config.nodes > 1:
        raise ValueError(
            f"devices={job.config.devices}, nodes={job.config.nodes}: a run of an ablation is one process; give 1 each"
        )
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"folder={job.folder}: cannot be made on {os.uname().nodename} ({error.strerror})") from error
    with _claimed(job.folder), _logged(job.folder):
        if (row := finished_row(job)) is not None:
            return row
        try:
            return run(job, throttled(report, job.folder, every))
        except ValueError as error:
            if TRAINED_ELSEWHERE in str(error):
                raise Busy(job.folder) from error
            traceback.print_exc()
            raise
        except Exception:
            traceback.print_exc()
            raise


def throttled(report: Report, folder: Path, every: float) -> Report:
    """``report``, told at once of new scores, else ``every`` so many seconds; the log shows with the first one."""
    last, seen = -every, None

    def tell(share: float, scores: dict[str, float]) -> None:
        nonlocal last, seen
        if time.monotonic() - last >= every or scores != seen:
            last, seen = time.monotonic(), dict(scores)
            _show_log(folder)
            report(share, seen)

    return tell


def one_line(error: BaseException) -> str:
    """The message of an error, with the name of its class where that is needed.

    Example:
        >>> one_line(ValueError("lr=-1 must be positive")), one_line(KeyError("a"))
        ('lr=-1 must be positive', "KeyError: 'a'")
    """
    text = " ".join(str(error).split())
    if not isinstance(error, SAYS_ALL) or not text:
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]} ..."


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Keep other engines out of a folder; the lock ends with the process, however that ends."""
    with (folder / ".claim").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise Busy(folder) from None
        yield


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Everything that is printed in the process goes to the folder's log.

    It is hidden until the run has written its configuration: a training starts in an empty folder only.
    """
    path = folder / LOG if (folder / LOG).exists() else folder / f".{LOG}"
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with path.open("a", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        try:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            yield
        finally:
            sys.stdout.flush()
            for descriptor, before in zip((1, 2), kept, strict=True):
                os.dup2(before, descriptor)
                os.close(before)
            _show_log(folder)


def _show_log(folder: Path) -> None:
    hidden = folder / f".{LOG}"
    if hidden.exists() and (folder / "config.json").exists():
        hidden.rename(folder / LOG)
