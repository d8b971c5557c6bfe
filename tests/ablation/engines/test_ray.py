"""Clusters of Ray on this machine, whose workers are really killed."""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning")
pytest.importorskip("ray")

import ray

import gcnet
from gcnet.ablation.engines.event import Failed, Finished, Progress, Started
from gcnet.ablation.engines.local import run_local
from gcnet.ablation.engines.node import Outcome
from gcnet.ablation.engines.ray import _check_resources, _gather, _shipped, run_ray
from tests.ablation.engines.small_jobs import (
    dying,
    endless,
    made_row,
    no_job,
    same_result,
    small_job,
    telling_module,
    trained_telling_pid,
    wrong,
)


def finished(events):
    return {event.key: event.row for event in events if isinstance(event, Finished)}


def test_a_cluster_is_started_and_shut_down(tmp_path, capfd):
    jobs = [no_job(tmp_path, seed) for seed in range(2)]
    events = list(run_ray(jobs, cpus=1, run=wrong))
    assert Failed(jobs[1].key, "FloatingPointError: the loss is not finite at step 3") in events
    assert [type(event) for event in events if event.key == jobs[0].key] == [Started, Progress, Finished]
    assert (jobs[0].folder / "log.txt").read_text() == f"printed by {jobs[0].label}\n"
    assert not ray.is_initialized()
    assert "".join(capfd.readouterr()) == ""
    assert finished(run_ray(jobs[:1], cpus=1, run=wrong)) == {jobs[0].key: finished(events)[jobs[0].key]}


@pytest.mark.slow
def test_a_killed_run_gives_the_result_of_the_local_engine(tmp_path):
    jobs = [small_job(tmp_path / "ray", seed) for seed in range(2)]
    killed, events = 0, []
    for event in run_ray(jobs, cpus=1, run=trained_telling_pid):
        events.append(event)
        if isinstance(event, Progress) and event.key == jobs[0].key and event.scores and not killed:
            killed = int((jobs[0].folder / ".pid").read_text())
            os.kill(killed, signal.SIGKILL)
    assert killed != int((jobs[0].folder / ".pid").read_text())
    assert events.count(Started(jobs[0].key)) == 2
    rows = finished(events)
    expected = finished(run_local([small_job(tmp_path / "local", seed) for seed in range(2)]))
    assert set(rows) == set(expected)
    for key, row in rows.items():
        assert same_result(row, expected[key])
    assert "goes on after" in (jobs[0].folder / "log.txt").read_text()


@pytest.mark.slow
def test_a_run_whose_worker_dies_again_and_again_fails(tmp_path):
    jobs = [no_job(tmp_path, seed) for seed in (1, 2)]
    events = list(run_ray(jobs, cpus=1, retries=1, run=dying))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.key == jobs[0].key
    assert failed.error.startswith("its worker died")
    assert "2 attempts" in failed.error
    assert set(finished(events)) == {jobs[1].key}


@pytest.mark.slow
def test_a_cluster_that_is_there_gets_our_gcnet(tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        job = no_job(tmp_path)
        assert set(finished(run_ray([job], address=cluster.address, cpus=1, run=telling_module))) == {job.key}
        path = Path((job.folder / "log.txt").read_text().splitlines()[0])
        assert "py_modules" in path.parts
        assert path != Path(gcnet.__file__)
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_close_ends_the_workers(tmp_path):
    job = no_job(tmp_path)
    events = run_ray([job], cpus=1, run=endless)
    next(events)
    pid = int((job.folder / ".pid").read_text())
    events.close()
    assert not ray.is_initialized()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
def test_no_cluster_at_an_address(tmp_path):
    with pytest.raises(ValueError, match="no Ray cluster there"):
        next(run_ray([no_job(tmp_path)], address="127.0.0.1:1", cpus=1))


@pytest.mark.slow
def test_more_than_this_machine_has(tmp_path):
    with pytest.raises(ValueError, match=r"cpus=1000: this machine has \d+"):
        next(run_ray([no_job(tmp_path)], cpus=1000))


def test_more_than_a_node_of_a_cluster_has(monkeypatch):
    nodes = [(True, {"CPU": 2.0}), (True, {"CPU": 4.0}), (False, {"CPU": 64.0, "GPU": 8.0})]
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": alive, "Resources": has} for alive, has in nodes])
    _check_resources("auto", 4, 0)
    with pytest.warns(UserWarning, match=r"cpus=6: no node of the cluster has more than 4; runs wait"):
        _check_resources("auto", 6, 0)
    with pytest.warns(UserWarning, match=r"gpus=0\.5: no node of the cluster has more than 0"):
        _check_resources("auto", 1, 0.5)


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "gcnet\[ray\]"'):
        run_ray([], cpus=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpus": 0}, "cpus=0 must be positive"),
        ({"cpus": 1, "gpus": 2}, "gpus=2 must lie between 0 and 1"),
        ({"cpus": 1, "retries": -1}, "retries=-1 must be at least 0"),
        ({"cpus": 1, "at_once": 0}, "at_once=0 must be at least 1"),
    ],
)
def test_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        run_ray([], **options)


def test_what_a_worker_sent_is_kept_unless_the_folder_is_shared(tmp_path):
    job = no_job(tmp_path)
    outcome = Outcome(Finished(job.key, made_row(job)), {"logs/csv/metrics.csv": b"1", "log.txt": b"2"})
    _gather(job, outcome)
    assert (job.folder / "logs" / "csv" / "metrics.csv").read_bytes() == b"1"
    assert (job.folder / "row.json").is_file()
    _gather(job, Outcome(outcome.event, {"log.txt": b"3"}))
    assert (job.folder / "log.txt").read_bytes() == b"2"


def test_modules_of_own_blocks_are_sent(tmp_path, monkeypatch):
    (tmp_path / "my_blocks_of_a_test.py").write_text("from torch.nn import Identity as Mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    job = no_job(tmp_path)
    blocks = ("my_blocks_of_a_test:Mine", "timm.layers:EcaModule", "none")
    jobs = [
        dataclasses.replace(job, config=dataclasses.replace(job.config, block=block, stages=("c3",)))
        for block in blocks
    ]
    assert _shipped(jobs) == [str(Path(gcnet.__file__).parent), str(tmp_path / "my_blocks_of_a_test.py")]
