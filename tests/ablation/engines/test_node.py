import dataclasses
import sys
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("ray")

from gcnet.ablation.engines.event import Failed, Finished, Progress, Started
from gcnet.ablation.engines.node import Driver, machine, small_files, train_on_node
from gcnet.ablation.identity import data_fingerprint
from tests.ablation.engines.small_jobs import no_job, quick


@pytest.fixture(autouse=True)
def _process_as_before(monkeypatch):
    """A task changes the process that it is alone in."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def run(job, *, here=True, paths=()):
    told = []
    driver = Driver(machine() if here else "another", paths, SimpleNamespace(put_nowait=told.append))
    return train_on_node(job, quick, 0, driver), told


def with_data(job, folder):
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    config = dataclasses.replace(job.config, data=folder)
    return dataclasses.replace(job, config=config, data=data_fingerprint(folder))


def test_it_tells_what_happens(tmp_path):
    job = no_job(tmp_path)
    outcome, told = run(job)
    assert isinstance(outcome.event, Finished)
    assert told == [Started(job.key), Progress(job.key, 0.5, {"val_top1": 0.25})]
    assert not outcome.files


def test_small_files_come_from_another_machine(tmp_path):
    job = with_data(no_job(tmp_path), tmp_path / "data")
    outcome, _ = run(job, here=False)
    assert isinstance(outcome.event, Finished)
    assert set(outcome.files) == {"config.json", "log.txt", "row.json"}
    (job.folder / "checkpoints").mkdir()
    (job.folder / "checkpoints" / "last.ckpt").write_text("")
    assert set(small_files(job.folder)) == set(outcome.files)


def test_other_sources(tmp_path):
    outcome, _ = run(dataclasses.replace(no_job(tmp_path), sources="0123"))
    assert isinstance(outcome.event, Failed)
    assert outcome.event.error.startswith("sources=0123: ")
    assert "every node needs the version of the driver" in outcome.event.error


def test_data_that_are_not_there(tmp_path):
    outcome, _ = run(no_job(tmp_path), here=False)
    assert "put it at this path on every node" in outcome.event.error


def test_other_data(tmp_path):
    job = with_data(no_job(tmp_path), tmp_path / "data")
    (tmp_path / "data" / "a.txt").write_text("b")
    outcome, _ = run(job, here=False)
    assert "has other contents" in outcome.event.error


def test_modules_of_the_driver_are_found(tmp_path):
    run(no_job(tmp_path), paths=[str(tmp_path / "own")])
    assert sys.path[-1] == str(tmp_path / "own")
