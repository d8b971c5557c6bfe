import dataclasses

import pytest

pytest.importorskip("lightning")

from gcnet.ablation.engines import attempt as attempts
from gcnet.ablation.engines.attempt import Busy, attempt, one_line, throttled
from gcnet.ablation.worker import finished_row
from gcnet.training.run_folder import locked
from tests.ablation.engines.small_jobs import no_job, quick


def ignore(share, scores):
    pass


def test_what_is_printed_goes_to_the_log(tmp_path, capfd):
    job = no_job(tmp_path)
    row = attempt(job, quick, ignore)
    assert finished_row(job) == row
    assert (job.folder / "log.txt").read_text() == f"printed by {job.label}\n"
    print("shown again")
    assert capfd.readouterr().out == "shown again\n"


def test_the_log_goes_on(tmp_path):
    job = no_job(tmp_path)
    for _ in range(2):
        attempt(job, quick, ignore)
        (job.folder / "row.json").unlink()
    assert (job.folder / "log.txt").read_text().count("printed") == 2


def test_a_finished_run_is_not_repeated(tmp_path):
    job = no_job(tmp_path)
    rows = [attempt(job, quick, ignore) for _ in range(2)]
    assert rows[0] == rows[1]
    assert (job.folder.parent / "trained.txt").read_text().split() == [job.key]


def test_a_failure_before_the_training_leaves_a_folder_to_train_in(tmp_path):
    job = no_job(tmp_path)

    def fails(job, report):
        print("so far")
        raise ValueError("no such data")

    with pytest.raises(ValueError, match="no such data"):
        attempt(job, fails, ignore)
    assert all(path.name.startswith(".") for path in job.folder.iterdir())
    text = (job.folder / ".log.txt").read_text()
    assert text.startswith("so far\n")
    assert "Traceback" in text


def test_a_folder_that_is_trained_in_is_busy(tmp_path):
    def train(job, report):
        raise ValueError(f"run={job.folder}: another process trains there; give another folder")

    with pytest.raises(Busy):
        attempt(no_job(tmp_path), train, ignore)


def test_the_words_of_a_locked_folder(tmp_path, monkeypatch):
    """They are what a busy folder is known by."""
    from gcnet.training import run_folder

    def taken(*_):
        raise BlockingIOError

    monkeypatch.setattr(run_folder.fcntl, "lockf", taken)
    with pytest.raises(ValueError, match=attempts.TRAINED_ELSEWHERE), locked(tmp_path):
        pass


@pytest.mark.parametrize("field", ["devices", "nodes"])
def test_one_process_per_run(tmp_path, field):
    job = no_job(tmp_path)
    job = dataclasses.replace(job, config=dataclasses.replace(job.config, **{field: 2}))
    with pytest.raises(ValueError, match=f"{field}=2"):
        attempt(job, quick, ignore)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(ValueError, match="cannot be made on"):
        attempt(no_job(tmp_path), quick, ignore)


def test_reports_are_few_but_scores_come_at_once(tmp_path):
    told = []
    tell = throttled(lambda share, scores: told.append((share, scores)), tmp_path, 1.0)
    for step in range(1000):
        tell(step / 1000, {"val_top1": 0.5} if step > 600 else {})
    assert told[0] == (0.0, {})
    assert (0.601, {"val_top1": 0.5}) in told
    assert len(told) < 10


def test_errors_are_one_line():
    assert one_line(RuntimeError("a\nb")) == "RuntimeError: a b"
    assert one_line(MemoryError()) == "MemoryError"
    assert len(one_line(ValueError("x" * 9999))) < 600
