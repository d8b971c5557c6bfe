"""Results from one store to another, and as text that git can merge."""

import math

import pytest

from gcnet.ablation.store import Store, copy, export_json
from tests.ablation.stored import make_row, make_study


def filled(place, *, seeds=(0, 1)):
    store = Store(place)
    store.save_study(make_study(seeds=seeds))
    for seed in seeds:
        store.add(make_row(f"none-{seed}", seed=seed))
    return store


def test_a_laptops_file_goes_to_the_team(place, tmp_path):
    laptop, team = filled(tmp_path / "laptop.sqlite", seeds=(0, 1)), filled(place, seeds=(1, 2))
    laptop.fail("broken", "no memory")
    assert copy(laptop, team) == 1
    assert copy(laptop, team) == 0
    assert list(team.rows()) == ["none-0", "none-1", "none-2"]
    assert team.studies() == [make_study(seeds=(0, 1, 2))]
    assert team.failures() == {}
    assert copy(team, laptop) == 1
    assert laptop.contents() == team.contents()


def test_the_study_saved_later_decides(tmp_path):
    old, new = Store(tmp_path / "old.sqlite"), Store(tmp_path / "new.sqlite")
    old.save_study(make_study(seeds=(0, 1), about="old"))
    new.save_study(make_study(seeds=(0,), about="new", keys={"none": {0: "newer"}, "all-gc": {}}))
    expected = {"none": {0: "newer", 1: "none-1"}, "all-gc": {0: "all-gc-0", 1: "all-gc-1"}}
    for first, second in ((old, new), (new, old)):
        into = Store(tmp_path / f"{first.name[-10:]}-first.sqlite")
        copy(first, into)
        copy(second, into)
        assert into.study("block").about == "new"
        assert into.study("block").keys == expected


def test_one_run_with_two_results_is_told(tmp_path):
    one, other = Store(tmp_path / "one.sqlite"), Store(tmp_path / "other.sqlite")
    one.add(make_row())
    other.add(make_row(metrics={"val_top1": 0.5}))
    with pytest.warns(UserWarning, match="0123456789abcdef is stored with val_top1"):
        assert copy(one, other) == 0


def test_text_holds_all_and_is_read_as_it_is(place, tmp_path):
    path = tmp_path / "results" / "block.jsonl"
    with filled(place) as store:
        store.add(make_row("diverged", metrics={"val_top1": math.nan}))
        export_json(store, path)
        with Store(path) as text:
            assert repr(text.contents()) == repr(store.contents())
            assert text.study("block").seeds == (0, 1)
            assert text.name == str(path)
            with pytest.raises(ValueError, match=r"block.jsonl: opened for reading only"):
                text.add(make_row("b"))
            assert copy(text, Store(tmp_path / "again.sqlite")) == 3
    export_json(Store(tmp_path / "again.sqlite"), tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == path.read_bytes()
    assert "NaN," not in path.read_text().replace('"NaN"', "")


def test_the_lines_of_both_sides_of_a_merge(tmp_path):
    ours, theirs = tmp_path / "ours.jsonl", tmp_path / "theirs.jsonl"
    export_json(filled(tmp_path / "ours.sqlite", seeds=(0, 1)), ours)
    export_json(filled(tmp_path / "theirs.sqlite", seeds=(1, 2)), theirs)
    merged = tmp_path / "merged.jsonl"
    merged.write_text(ours.read_text() + "".join(theirs.read_text().splitlines(keepends=True)[1:]))
    with Store(merged) as store:
        assert store.study("block") == make_study(seeds=(0, 1, 2))
        assert len(store.rows()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"gcnet_results": 2}\n', "has format 2, this gcnet knows 1"),
        ('{"epoch": 1}\n', "line 1 is no line of results"),
        ('{"gcnet_results": 1}\n<<<<<<< HEAD\n', "line 2 is no line of results: b'<<<<<<< HEAD'"),
        ('{"gcnet_results": 1}\n{"run": {"key": "a"}}\n', "line 2 is no line of results"),
        ('{"gcnet_results": 1}\n{"study": [], "saved": ""}\n', "line 2 is no line of results"),
    ],
)
def test_text_that_holds_no_results(tmp_path, content, message):
    path = tmp_path / "results.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        Store(path)


def test_paths_of_text(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"results=.*none\.jsonl: no such file"):
        Store(tmp_path / "none.jsonl")
    with Store(tmp_path / "a.sqlite") as store, pytest.raises(ValueError, match=r"the suffix is \.jsonl"):
        export_json(store, tmp_path / "a.json")
