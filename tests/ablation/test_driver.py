"""Events of an engine become rows of the store."""

import pytest

pytest.importorskip("timm")


from gcnet.ablation.driver import drive
from gcnet.ablation.engines import event
from gcnet.ablation.plan import Standing, standing
from tests.ablation import tiny


class Kept:
    def __init__(self):
        self.rows = {}
        self.failures = {}

    def add(self, row):
        self.rows[row.key] = row

    def fail(self, key, error):
        self.failures[key] = error


def events(jobs, *, stop=None, fails=(), closed=None):
    try:
        for number, job in enumerate(jobs):
            yield event.Started(job.key)
            if number == stop:
                raise KeyboardInterrupt
            yield event.Progress(job.key, 0.5, {})
            if number in fails:
                yield event.Failed(job.key, "no room")
            else:
                yield event.Finished(job.key, tiny.row(job))
    finally:
        if closed is not None:
            closed.append(True)


def test_rows_and_failures_are_kept_at_once(tmp_path):
    plan = tiny.plan(tmp_path)
    store, shown = Kept(), []
    found = standing(plan, {plan.jobs[0].key: tiny.row(plan.jobs[0])})
    outcome = drive(plan, found, events(found.to_run, fails=[1]), store, shown.append)
    assert outcome.failed == store.failures == {plan.jobs[2].key: "no room"}
    assert outcome.rows.keys() == {job.key for job in plan.jobs} - {plan.jobs[2].key}
    assert store.rows.keys() == outcome.rows.keys() - {plan.jobs[0].key}
    assert len(shown) == 15


def test_rows_of_folders_are_kept_first(tmp_path):
    plan = tiny.plan(tmp_path)
    there = {job.key: tiny.row(job) for job in plan.jobs}
    store = Kept()
    found = Standing({}, there, (), ())
    assert drive(plan, found, iter(()), store, print).rows == there == store.rows


def test_ctrl_c_says_what_is_kept(tmp_path):
    plan = tiny.plan(tmp_path)
    found = standing(plan, {plan.jobs[0].key: tiny.row(plan.jobs[0])})
    store = Kept()
    with pytest.raises(KeyboardInterrupt, match="3 of 6 runs are finished and kept; the same command goes on"):
        drive(plan, found, events(found.to_run, stop=2), store, lambda _: None)
    assert len(store.rows) == 2


def test_the_engine_is_closed_when_the_display_or_store_fails(tmp_path):
    plan = tiny.plan(tmp_path)
    closed = []

    def show(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="0 of 6"):
        drive(plan, standing(plan, {}), events(plan.jobs, closed=closed), Kept(), show)
    assert closed
