"""gcnet recipes: the table, one recipe, JSON."""

import json
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from gcnet.recipes.table import recipes as all_recipes
from gcnet.recipes.table_cli import recipes


def printed(capsys, *words):
    assert recipes(list(words)) == 0
    return capsys.readouterr().out


def test_the_table_has_every_recipe_in_a_line(capsys):
    lines = printed(capsys).splitlines()
    for name, recipe in all_recipes().items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert recipe.task in line
        assert recipe.hardware in line
        assert all(f"{what} {figure}" in line for what, figure in recipe.published.items())


def test_all_as_json(capsys):
    entries = json.loads(printed(capsys, "--json"))
    assert [entry["name"] for entry in entries] == list(all_recipes())
    assert entries[0].keys() == {"name", "task", "data", "published", "source", "hardware", "summary"}


def test_one_recipe_shows_every_field(capsys):
    text = printed(capsys, "coco-r50-gc-r16-sync-1x")
    values = {words[0]: words[1] for words in map(str.split, text.splitlines()) if len(words) == 2}
    assert values["ratio"] == "1/16"
    assert values["milestones"] == "8,11"
    assert values["frozen"] == "stem,c2"
    assert values["warmup_start"] == "1/3"
    assert values["weight_decay"] == "0.0001"
    assert "box AP 39.4, mask AP 35.7; README of xvjiarui/GCNet (confirmed)" in text
    assert text.rstrip().splitlines()[-1].startswith("gcnet train coco-r50-gc-r16-sync-1x --data DATA")


def test_one_as_json(capsys):
    entry = json.loads(printed(capsys, "imagenet-r50", "--json"))
    assert entry["published"] == {"top-1": 76.88, "top-5": 93.16}
    assert (entry["fields"]["lr"], entry["fields"]["data"]) == (0.1, "DATA")


def test_an_unknown_name_is_one_line(capsys):
    assert recipes(["imagenet-r51"]) == 2
    assert "did you mean 'imagenet-r50'" in capsys.readouterr().err


def test_the_guide_shows_this_table(capsys):
    guide = (Path(__file__).parents[2] / "docs/guides/recipes.md").read_text()
    assert all(line.rstrip() in guide for line in printed(capsys).splitlines()[:-1])
