"""From a table to runs with identities."""

import dataclasses
import json
from dataclasses import replace

import pytest

pytest.importorskip("timm")

from gcnet.ablation.bases import base_of
from gcnet.ablation.plan import resolve, standing
from gcnet.ablation.standard import TABLES
from gcnet.ablation.table import Table, Variant
from gcnet.training.config import TASKS
from tests.ablation import tiny


def test_every_run_has_a_key_and_a_folder_of_that_name(tmp_path):
    plan = tiny.plan(tmp_path)
    assert len({job.key for job in plan.jobs}) == 6
    assert [job.folder for job in plan.jobs] == [tmp_path / "runs" / job.key for job in plan.jobs]
    assert [(job.label, job.config.block, job.config.seed) for job in plan.jobs[:4]] == [
        ("gates, none, seed 0", "none", 0),
        ("gates, gc, seed 0", "gc", 0),
        ("gates, se, seed 0", "se", 0),
        ("gates, none, seed 1", "none", 1),
    ]
    assert [key for _, _, key in plan.study.runs()] == [job.key for job in plan.jobs]
    assert not (tmp_path / "runs").exists()


def test_a_table_that_shares_a_variant_shares_its_runs(tmp_path):
    other = Table("other", "Other", (tiny.TABLE["none"], replace(tiny.TABLE["gc"], name="the-same")), "none")
    one, two = tiny.plan(tmp_path), tiny.plan(tmp_path, other)
    assert one.study.keys["gc"] == two.study.keys["the-same"]


def test_gc_of_every_table_of_the_paper_is_one_run():
    base = base_of("classification").config
    found = {repr(resolve(table, base)["gc"]) for table in TABLES.values()}
    assert len(found) == 1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_of_the_paper_fit_every_task(task, table):
    configs = resolve(table, base_of(task).config)
    assert list(configs) == [variant.name for variant in table.variants]


def test_name_tells_table_task_and_all_that_is_shared(tmp_path):
    name = tiny.plan(tmp_path).study.name
    assert name.startswith("gates-classification-")
    assert len(name.rpartition("-")[2]) == 8
    assert tiny.plan(tmp_path, seeds=[7], chosen=["gc"]).study.name == name
    assert tiny.plan(tmp_path, epochs=2).study.name != name
    changed = dataclasses.replace(tiny.TABLE["gc"], changes={**tiny.TABLE["gc"].changes, "ratio": 1 / 2})
    table = dataclasses.replace(tiny.TABLE, variants=(tiny.TABLE["none"], changed, tiny.TABLE["se"]))
    assert tiny.plan(tmp_path, table).study.name != name


def test_more_seeds_and_variants_join_the_study(tmp_path):
    first = tiny.plan(tmp_path, chosen=["gc"]).study
    joined = first.joined(tiny.plan(tmp_path, seeds=[5], chosen=["se"]).study)
    assert {name: sorted(keys) for name, keys in joined.keys.items()} == {"none": [0, 1, 5], "gc": [0, 1], "se": [5]}


def test_the_baseline_always_runs(tmp_path):
    assert list(tiny.plan(tmp_path, chosen=["se"]).study.keys) == ["none", "se"]


def test_two_variants_that_are_the_same_are_an_error(tmp_path):
    twice = Table("twice", "Twice", (*tiny.TABLE.variants, replace(tiny.TABLE["gc"], name="again")), "none")
    with pytest.raises(ValueError, match="variants 'gc' and 'again' of table 'twice' are the same"):
        tiny.plan(tmp_path, twice)


@pytest.mark.parametrize("field", ["seed", "data", "out"])
def test_what_all_share_is_no_difference(tmp_path, field):
    table = Table("bad", "Bad", (tiny.TABLE["none"], Variant("a", "a", {field: 1})), "none")
    with pytest.raises(ValueError, match=f"variant 'a': {field} is the same for all"):
        tiny.plan(tmp_path, table)


def test_a_block_that_cannot_be_imported_names_the_variant(tmp_path):
    bad = Variant("a", "a", {"block": "no_such:Block", "match": ("layer3.0",)})
    with pytest.raises(ValueError, match=r"variant 'a': .*no_such cannot be imported"):
        tiny.plan(tmp_path, Table("bad", "Bad", (tiny.TABLE["none"], bad), "none"))


def test_standing(tmp_path):
    plan = tiny.plan(tmp_path)
    stored, found, begun, *new = plan.jobs
    for job in (found, begun):
        job.folder.mkdir(parents=True)
    (found.folder / "row.json").write_text(json.dumps(tiny.row(found).to_dict()))
    (begun.folder / "config.json").write_text("{}")
    there = standing(plan, {stored.key: tiny.row(stored), "of another": tiny.row(stored)})
    assert list(there.stored) == [stored.key]
    assert there.found == {found.key: tiny.row(found)}
    assert there.interrupted == (begun,)
    assert there.to_run == (begun, *new)
    assert there.rows.keys() == {stored.key, found.key}


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_damaged_row_is_named(tmp_path, text):
    plan = tiny.plan(tmp_path)
    plan.jobs[0].folder.mkdir(parents=True)
    (plan.jobs[0].folder / "row.json").write_text(text)
    with pytest.raises(ValueError, match=r"row\.json: is damaged"):
        standing(plan, {})


def test_the_row_of_another_run_is_refused(tmp_path):
    plan = tiny.plan(tmp_path)
    plan.jobs[0].folder.mkdir(parents=True)
    (plan.jobs[0].folder / "row.json").write_text(json.dumps(tiny.row(plan.jobs[1]).to_dict()))
    with pytest.raises(ValueError, match=f"is of the run {plan.jobs[1].key}"):
        standing(plan, {})
