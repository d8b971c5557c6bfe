"""Every promise of the store, on a SQLite file and on a PostgreSQL server."""

import dataclasses
import math
import multiprocessing
import os
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from gcnet.ablation.row import Row
from gcnet.ablation.store import Store
from gcnet.ablation.store.address import read_address
from tests.ablation.stored import (
    TABLE,
    add_forever,
    die_while_writing,
    drive,
    long_row,
    make_row,
    make_study,
    run_name,
)

SPAWN = multiprocessing.get_context("spawn")


def sql(place: str, query: str) -> list[tuple]:
    """Rows of plain SQL."""
    where = read_address(place)
    engine = create_engine(f"sqlite:///{where}" if isinstance(where, Path) else where)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(query))
            return [tuple(row) for row in result] if result.returns_rows else []
    finally:
        engine.dispose()


def test_rows_come_back_as_they_were(place):
    rows = {key: make_row(key, seed=seed) for seed, key in enumerate("abc")}
    with Store(place) as store:
        for row in rows.values():
            store.add(row)
    with Store(place) as store:
        assert store.rows() == rows
        assert store.rows(["b", "unknown"]) == {"b": rows["b"]}
        assert store.rows([]) == {}
        assert len(store.rows(f"{number}" for number in range(70_000))) == 0


def test_numbers_that_json_does_not_know(place):
    metrics = {"val_top1": math.nan, "val_loss": math.inf, "best": -math.inf}
    row = make_row(
        metrics=metrics, config={"clip": [math.inf]}, latency_ms=math.nan, latency_ratio=(math.nan, 1.0, 2.0)
    )
    with Store(place) as store:
        store.add(row)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store.add(row)
        stored = store.rows()[row.key]
    assert repr(stored.to_dict()) == repr({**row.to_dict(), "config": {"clip": [math.inf]}})
    assert sql(place, "SELECT score_value FROM gcnet_runs") == [(None,)]


def test_plain_sql_sees_every_field(place):
    fields = {entry.name for entry in dataclasses.fields(Row)} - {"latency_ratio"}
    with Store(place) as store:
        store.save_study(make_study(seeds=(0, 1)))
        for seed in (0, 1):
            store.add(make_row(run_name("none", seed), seed=seed, metrics={"val_top1": 0.5 + seed / 4}))
    assert sql(place, f"SELECT {', '.join(sorted(fields))} FROM gcnet_runs")
    ratio = "latency_ratio_low, latency_ratio_median, latency_ratio_high"
    assert sql(place, f"SELECT macs, {ratio} FROM gcnet_runs LIMIT 1") == [(4_100_000_000_000, 1.01, 1.02, 1.04)]
    mean = "SELECT study, variant, avg(score_value), count(*) FROM gcnet_results GROUP BY study, variant"
    assert sql(place, mean) == [("block-classification-1f2e", "none", 0.625, 2)]
    metric = "SELECT metrics ->> 'val_top1' FROM gcnet_runs ORDER BY key"
    assert [float(value) for (value,) in sql(place, metric)] == [0.5, 0.75]


def test_times_are_utc(place):
    with Store(place) as store:
        store.add(make_row(started="2026-11-29T12:00:00.250000+02:00", finished="2026-11-29T10:00:01"))
        row = store.rows()["0123456789abcdef"]
    assert (row.started, row.finished) == ("2026-11-29T10:00:00.250000+00:00", "2026-11-29T10:00:01+00:00")
    assert str(sql(place, "SELECT finished FROM gcnet_runs")[0][0]).startswith("2026-11-29 10:00:01")
    with Store(place) as store, pytest.raises(ValueError, match="yesterday"):
        store.add(make_row("other", started="yesterday"))


def test_the_first_of_two_rows_stays(place):
    with Store(place) as store:
        store.add(make_row())
        store.add(make_row(seconds=1.0, folder="elsewhere"))
        with pytest.warns(UserWarning, match=r"0123456789abcdef is stored with val_top1 0.875, the new one has 0.5"):
            store.add(make_row(metrics={"val_top1": 0.5}))
        assert store.rows() == {"0123456789abcdef": make_row()}


def test_studies_are_joined_and_the_newest_is_first(place):
    with Store(place) as store:
        store.save_study(make_study(seeds=(0, 1)))
        store.save_study(make_study("block-video-77aa"))
        assert [study.name for study in store.studies()] == ["block-video-77aa", "block-classification-1f2e"]
        store.save_study(make_study(seeds=(1, 2), about="again"))
        assert [study.name for study in store.studies()] == ["block-classification-1f2e", "block-video-77aa"]
        joined = store.studies()[0]
    assert joined == make_study(seeds=(0, 1, 2), about="again")
    assert list(joined.keys) == [variant.name for variant in TABLE.variants]


def test_a_study_by_name_table_or_beginning(place):
    with Store(place) as store:
        with pytest.raises(ValueError, match="there are: none yet"):
            store.study("block")
        store.save_study(make_study())
        assert store.study("block") == store.study("block-cl") == make_study()
        store.save_study(make_study("block-classification-1f2e-b"))
        assert store.study("block-classification-1f2e") == make_study()
        with pytest.raises(
            ValueError, match=r"fits 2 studies .*block-classification-1f2e-b, block-classification-1f2e"
        ):
            store.study("block")
        with pytest.raises(ValueError, match=r"study='stage'.*there are: block-classification-1f2e-b, block-"):
            store.study("stage")


def test_a_failure_stays_until_the_run_succeeds(place):
    with Store(place) as store:
        store.fail("a", "first")
        store.fail("a", "out of memory: \0\udcff")
        store.fail("b", "worker died")
        assert store.failures() == {"a": "out of memory: \N{REPLACEMENT CHARACTER}?", "b": "worker died"}
        store.add(make_row("a"))
        store.fail("a", "a slower driver lost it")
        assert store.failures() == {"b": "worker died"}


def test_reading_needs_results_and_changes_nothing(place):
    with pytest.raises((FileNotFoundError, ValueError), match=r"results=.*(no such file|no results of gcnet)"):
        Store(place, read_only=True)
    Store(place).add(make_row())
    with Store(place, read_only=True) as store:
        assert list(store.rows()) == ["0123456789abcdef"]
        for write in (lambda: store.add(make_row("b")), lambda: store.save_study(make_study())):
            with pytest.raises(ValueError, match="opened for reading only"):
                write()


@pytest.mark.parametrize("read_only", [False, True])
def test_tables_of_another_version(place, read_only):
    Store(place)
    sql(place, "UPDATE gcnet_schema SET version = 99")
    with pytest.raises(ValueError, match=r"results=.*version 99, this gcnet knows 1"):
        Store(place, read_only=read_only)


def test_the_store_keeps_no_connection(place):
    """What a fork would share with its child."""
    store = Store(place)
    store.add(make_row())
    assert "in pool: 0" in store._database._engine.pool.status() or store._database._engine.pool.status() == "NullPool"
    child = os.fork()
    if not child:
        status = 1
        try:
            store.add(make_row("of the child"))
            status = 0
        finally:
            os._exit(status)
    store.add(make_row("of the parent"))
    assert os.waitpid(child, 0)[1] == 0
    assert len(store.rows()) == 3


def test_threads_at_once_lose_nothing(place):
    """As processes do, below, each with connections of its own."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(drive, [place] * 4, range(4), [4] * 4, [12] * 4))
    with Store(place) as store:
        assert len(store.rows()) == 25
        assert store.studies() == [make_study(seeds=tuple(range(12)))]


@pytest.mark.slow
def test_drivers_at_once_lose_nothing(place):
    """Four drivers, hundreds of runs; the first thing all of them do is to make the tables."""
    drivers, count = 4, 100
    processes = [SPAWN.Process(target=drive, args=(place, driver, drivers, count)) for driver in range(drivers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * drivers
    with Store(place, read_only=True) as store:
        names = {run_name(variant.name, seed) for variant in TABLE.variants for seed in range(count)}
        assert set(store.rows()) == {*names, "shared"}
        assert store.studies() == [make_study(seeds=tuple(range(count)))]
        assert store.failures() == {}


def test_a_process_killed_while_it_writes_leaves_the_rest(place):
    Store(place).add(make_row())
    process = SPAWN.Process(target=die_while_writing, args=(place,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    if place.startswith("sqlite"):
        assert Path(f"{read_address(place)}-journal").stat().st_size > 0
    with Store(place, read_only=True) as store:
        assert list(store.rows()) == ["0123456789abcdef"]
    Store(place).add(make_row("next"))
    assert len(Store(place).rows()) == 2


@pytest.mark.slow
def test_a_process_killed_at_any_moment(place):
    store = Store(place)
    for moment in range(3):
        before = len(store.rows())
        process = SPAWN.Process(target=add_forever, args=(place, f"{moment}"))
        process.start()
        while len(store.rows()) == before and process.is_alive():
            time.sleep(0.013 * (1 + moment))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert all(row == long_row(key) for key, row in store.rows().items())
    if place.startswith("sqlite"):
        assert sql(place, "PRAGMA integrity_check") == [("ok",)]


def test_a_lock_that_others_keep(place, monkeypatch):
    import gcnet.ablation.store.database as database

    monkeypatch.setattr(database, "WAIT", 0.2 if place.startswith("sqlite") else 1)
    store = Store(place)
    with store._database.writing(), pytest.raises(ValueError, match=r"results=.*lock"):
        Store(place).add(make_row())
    store.add(make_row())


def test_a_write_that_fails_stores_nothing(place):
    with Store(place) as store:
        with pytest.raises(ValueError, match="results="):
            store.merge([make_row("a"), make_row("b", started="never")], [])
        assert store.rows() == {}


def test_sqlite_leaves_one_file_and_reading_keeps_its_bytes(tmp_path):
    path = tmp_path / "results.sqlite"
    with Store(path) as store:
        store.add(make_row())
        assert [each.name for each in tmp_path.iterdir()] == ["results.sqlite"]
    content = path.read_bytes()
    with Store(str(path), read_only=True) as store:
        store.rows(), store.studies(), store.failures()
        assert [each.name for each in tmp_path.iterdir()] == ["results.sqlite"]
    assert path.read_bytes() == content
    Store(path)
    assert path.read_bytes() == content
