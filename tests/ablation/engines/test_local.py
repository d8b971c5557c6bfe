"""Processes that are really killed, interrupted and left alone."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from pathlib import Path
from threading import Timer

import pytest

pytest.importorskip("lightning")

from gcnet.ablation.engines.event import Failed, Finished, Progress, Started
from gcnet.ablation.engines.local import run_local
from tests.ablation.engines.small_jobs import (
    dying,
    endless,
    made_row,
    no_job,
    quick,
    same_result,
    small_job,
    stubborn,
    trained_killed_once,
    unhurried,
    wrong,
)

ROOT = Path(__file__).parents[3]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def pid_of(job) -> int:
    path = job.folder / ".pid"
    wait_until(lambda: path.is_file() and path.read_text())
    return int(path.read_text())


def test_every_job_has_a_process_of_its_own(tmp_path):
    jobs = [no_job(tmp_path, seed) for seed in range(3)]
    events = list(run_local(jobs, at_once=2, run=quick))
    rows = [event.row for event in events if isinstance(event, Finished)]
    assert {row.key for row in rows} == {job.key for job in jobs}
    assert len({row.metrics["pid"] for row in rows} | {os.getpid()}) == 4
    for job in jobs:
        own = [type(event) for event in events if event.key == job.key]
        assert own == [Started, Progress, Finished]
    assert Progress(jobs[0].key, 0.5, {"val_top1": 0.25}) in events


def test_threads_are_those_of_the_job(tmp_path):
    job = no_job(tmp_path)
    job = dataclasses.replace(job, config=dataclasses.replace(job.config, threads=3))
    *_, event = run_local([job], run=quick)
    assert event.row.metrics["omp"] == 3


def test_a_finished_run_is_not_repeated(tmp_path):
    job = no_job(tmp_path)
    *_, first = run_local([job], run=quick)
    assert list(run_local([job], run=wrong)) == [first]


def test_an_error_ends_one_run(tmp_path):
    jobs = [no_job(tmp_path, seed) for seed in range(3)]
    events = list(run_local(jobs, run=wrong))
    assert Failed(jobs[1].key, "FloatingPointError: the loss is not finite at step 3") in events
    assert {event.key for event in events if isinstance(event, Finished)} == {jobs[0].key, jobs[2].key}


def test_a_process_that_dies_is_started_once_more(tmp_path):
    jobs = [no_job(tmp_path, seed) for seed in range(3)]
    events = list(run_local(jobs, run=dying))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.key == jobs[1].key
    assert "killed by signal 9 (SIGKILL)" in failed.error
    assert "attempt 2 of 2" in failed.error
    assert {event.key for event in events if isinstance(event, Finished)} == {jobs[0].key, jobs[2].key}
    assert events.count(Started(jobs[2].key)) == 2


def test_a_server_of_forks_that_is_killed_is_replaced(tmp_path):
    list(run_local([no_job(tmp_path)], run=quick))
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGSTOP)
    Timer(0.5, os.kill, (server, signal.SIGKILL)).start()  # while it is asked for a process
    *_, event = run_local([no_job(tmp_path, 1)], run=quick)
    assert isinstance(event, Finished)
    assert forkserver._forkserver._forkserver_pid != server


@pytest.mark.parametrize("run", [endless, stubborn])
def test_close_stops_the_workers(tmp_path, run, monkeypatch):
    monkeypatch.setattr("gcnet.ablation.engines.local.STOP_SECONDS", 1.0)
    jobs = [no_job(tmp_path, seed) for seed in range(2)]
    events = run_local(jobs, at_once=2, run=run)
    next(events)
    next(events)
    pids = [pid_of(job) for job in jobs]
    events.close()
    wait_until(lambda: not any(map(alive, pids)))


DRIVER = """
import sys
from pathlib import Path
from gcnet.ablation.engines.local import run_local
from tests.ablation.engines.small_jobs import endless, no_job

if __name__ == "__main__":
    try:
        for event in run_local([no_job(Path(sys.argv[1]), seed) for seed in range(2)], at_once=2, run=endless):
            pass
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_driver(tmp_path, how):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    driver = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [pid_of(no_job(tmp_path, seed)) for seed in range(2)]
    if how == signal.SIGINT:
        os.killpg(driver.pid, how)  # as a terminal does
    else:
        driver.send_signal(how)
    out, err = driver.communicate(timeout=300)
    wait_until(lambda: not any(map(alive, pids)))
    assert (out == "interrupted\n") == (how == signal.SIGINT)
    assert "Traceback" not in err


def test_two_drivers_train_each_run_once(tmp_path):
    jobs = [no_job(tmp_path, seed) for seed in range(4)]
    with ThreadPoolExecutor(2) as drivers:
        both = list(drivers.map(lambda _: list(run_local(jobs, run=unhurried)), range(2)))
    for told in both:
        assert {event.key for event in told if isinstance(event, Finished)} == {job.key for job in jobs}
        assert not [event for event in told if isinstance(event, Failed)]
    trained = (tmp_path / "runs" / "trained.txt").read_text().split()
    assert sorted(trained) == sorted(job.key for job in jobs)


def test_gpus_in_turn(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    events = run_local([no_job(tmp_path, seed) for seed in range(3)], at_once=3, run=seeing)
    rows = {event.row.seed: event.row for event in events if isinstance(event, Finished)}
    assert [rows[seed].metrics["gpu"] for seed in range(3)] == [4, 7, 4]


def seeing(job, report):
    time.sleep(0.2)
    return made_row(job, gpu=float(os.environ["CUDA_VISIBLE_DEVICES"]))


def test_at_once(tmp_path):
    with pytest.raises(ValueError, match="at_once=0 must be at least 1"):
        run_local([], at_once=0)
    assert list(run_local([])) == []


@pytest.mark.slow
def test_a_training_that_was_killed_gives_the_same_result(tmp_path):
    *_, killed = run_local([small_job(tmp_path / "one")], run=trained_killed_once)
    *_, other = run_local([small_job(tmp_path / "other")])
    assert same_result(killed.row, other.row)
