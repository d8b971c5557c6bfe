"""How long runs will take."""

from dataclasses import replace

import pytest

pytest.importorskip("timm")

from gcnet.ablation.estimate import Estimate, estimate
from tests.ablation import tiny


def took(job, seconds):
    return tiny.row(job, finished=f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}+00:00", seconds=seconds / 2)


def test_runs_of_the_same_variant_count_where_there_are_some(tmp_path):
    jobs = {(job.config.block, job.config.seed): job for job in tiny.plan(tmp_path, seeds=range(3)).jobs}
    rows = [took(jobs["none", 0], 20), took(jobs["none", 1], 30), took(jobs["gc", 0], 50)]
    found = estimate([jobs["none", 2]], rows)
    assert (found.low, found.high) == (20, 30)
    assert found.source == "3 runs of the same training with other seeds or blocks, 30 s each"
    assert estimate([jobs["gc", 2]], rows)[:2] == (50, 50)
    assert estimate([jobs["se", 2]], rows)[:2] == (20, 50)
    assert estimate([jobs["gc", 1], jobs["gc", 2], jobs["none", 2]], rows)[:2] == (120, 130)


def test_a_pause_does_not_count(tmp_path):
    job, *others = tiny.plan(tmp_path).jobs
    assert estimate(others[:1], [tiny.row(job, seconds=300.0)])[:2] == (300, 300)
    paused = tiny.row(job, seconds=300.0, finished="2026-01-09T00:00:00+00:00")
    assert estimate(others[:1], [paused])[:2] == (660, 660)


def test_rows_of_another_training_or_machine_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr("gcnet.ablation.estimate.from_steps", lambda jobs: Estimate(1, 2, "steps"))
    job, *others = tiny.plan(tmp_path).jobs
    longer = tiny.plan(tmp_path, epochs=5).jobs[0]
    assert estimate(others, [took(longer, 500)]).source == "steps"
    assert estimate(others, [tiny.row(job, threads=4)]).source == "steps"
    assert estimate(others, [took(job, 20)], device="a GPU").source == "steps"
    assert estimate(others, [took(job, 20)], device="none").low == 100


def test_a_few_real_steps_are_timed_where_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs = tiny.plan(tmp_path, seeds=[0], chosen=["gc"]).jobs
    found = estimate(jobs, [])
    assert 20 < found.low <= found.high
    assert "8 steps of each variant" in found.source
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    steps = replace(jobs[0], config=replace(jobs[0].config, epochs=1000, schedule="steps", milestones=(800,)))
    assert estimate([steps], []).low > found.low


@pytest.mark.parametrize(
    ("estimate", "at_once", "said"),
    [
        (Estimate(30, 50, "x"), 1, "about 30 to 50 s, one at a time (from x)"),
        (Estimate(50, 300, "x"), 1, "about 50 s to 5 min, one at a time (from x)"),
        (Estimate(300, 300, "x"), 1, "about 5 min, one at a time (from x)"),
        (Estimate(3600, 7200, "x"), 2, "about 30 to 60 min, 2 at a time (from x)"),
        (Estimate(0, 0, "nothing to run"), 1, "no time: nothing to run"),
    ],
)
def test_in_words(estimate, at_once, said):
    assert estimate.text(at_once) == said
