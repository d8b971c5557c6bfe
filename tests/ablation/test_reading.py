"""Tables of users."""

import sys
from importlib import import_module
from multiprocessing.spawn import get_preparation_data
from pathlib import Path

import pytest

pytest.importorskip("yaml")

from gcnet.ablation.bases import base_of
from gcnet.ablation.reading import read_table

GOOD = """
name: mine
title: Attention of several libraries
task: classification
recipe: classification
data: photos
base: {epochs: 3, lr: 1/64, crop_scale: [1/2, 1], clip: None}
baseline: plain
note: said below the table
variants:
  plain:
  gc:
    label: GC
    block: gc
    ratio: 1 / 8
    stages: [c4, c5]
  one: {block: nl, blocks: "c4:-2", block_options: {pairwise: gaussian, subsample_size: [1, 2]}}
  eca: {block: "timm.layers:EcaModule", match: "layer3.*"}
"""


@pytest.fixture(autouse=True)
def _paths(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(folder, text, name="gates.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def test_yaml(tmp_path):
    read = read_table(write(tmp_path, GOOD))
    table = read.table
    assert (table.name, table.title, table.baseline) == ("mine", "Attention of several libraries", "plain")
    assert table.note == "said below the table"
    assert (read.task, read.recipe, read.data) == ("classification", "classification", tmp_path / "photos")
    assert read.base == {"epochs": 3, "lr": 1 / 64, "crop_scale": (0.5, 1.0), "clip": None}
    assert table["plain"].changes == {}
    assert (table["gc"].label, table["one"].label) == ("GC", "one")
    assert table["gc"].changes == {"block": "gc", "ratio": 1 / 8, "stages": ("c4", "c5")}
    assert table["one"].changes == {
        "block": "nl",
        "blocks": ("c4:-2",),
        "block_options": ("pairwise=gaussian", "subsample_size=(1, 2)"),
    }
    assert table.configs(base_of("classification").config)["eca"].match == ("layer3.*",)


def test_a_short_file_has_defaults(tmp_path):
    read = read_table(write(tmp_path, "variants: {none: {}, gc: {block: gc, stages: c4}}"))
    assert (read.table.name, read.table.title, read.table.baseline) == ("gates", "gates", "none")
    assert (read.task, read.recipe, read.data, read.base) == ("classification", None, None, {})


def test_task_of_the_command_line_counts(tmp_path):
    assert read_table(write(tmp_path, GOOD.replace(", crop_scale: [1/2, 1]", "")), "video").task == "video"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("block: gc", "blok: gc", "variant 'gc': classification has no field 'blok'; did you mean 'block'"),
        ("ratio: 1 / 8", "ratio: wide", "variant 'gc': ratio='wide'"),
        ("ratio: 1 / 8", "ratio: 1/0", "divides by zero"),
        ("epochs: 3", "epochs: three", "base: epochs='three'"),
        ("epochs: 3", "epoch: 3", "did you mean 'epochs'"),
        ("stages: [c4, c5]", "stages: [4, 5]", "variant 'gc': stages="),
        ("baseline: plain", "baseline: plan", "no variant of table 'mine'"),
        ("title:", "titel:", "did you mean 'title'"),
        ("title: Attention of several libraries", "title: 3", "title=3 must be text"),
        ("name: mine", "name: my/table", "name='my/table' may have letters"),
        ("task: classification", "task: classify", "did you mean 'classification'"),
        ("  plain:", "  no:", "variant False: a name must be text"),
        ("    label: GC", "    label: 3", "label=3 must be text"),
        ("  one:", "  gc:", "'gc' stands twice"),
        ("  plain:", "  plain: [", "cannot be read as YAML"),
        ("  plain:", "  plain: 3", "variant 'plain': 3 must be a mapping"),
        ("  plain:", "  plain: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
    ],
)
def test_mistakes_name_file_variant_and_field(tmp_path, old, new, said):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ValueError, match=said) as error:
        read_table(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("text", ["", "- a", "name: mine", "variants: [a, b]", "variants: {a: {}}"])
def test_no_variants_is_an_error(tmp_path, text):
    with pytest.raises(ValueError, match="variants"):
        read_table(write(tmp_path, text))


def test_a_missing_file_says_what_a_table_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gcnet ablate list"):
        read_table(tmp_path / "none.yaml")


PYTHON = """
from gcnet.ablation.standard import everywhere
from gcnet.ablation.table import Table, Variant
from torch import nn

class Shift(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(__import__("torch").zeros(channels, 1, 1))
    def forward(self, x):
        return x + self.bias

TABLE = Table("mine", "Mine", (
    Variant("none", "none", {"block": "none"}),
    Variant("shift", "a shift", everywhere("my_table:Shift", None)),
), baseline="none")
TASK = "detection"
BASE = {"epochs": 2}
"""


def test_python_with_a_block_of_its_own(tmp_path):
    read = read_table(write(tmp_path, PYTHON, "my_table.py"))
    assert (read.task, read.base) == ("detection", {"epochs": 2})
    assert read.table["shift"].changes["block"] == "my_table:Shift"
    assert import_module("my_table").Shift.__name__ == "Shift"
    assert str(tmp_path) in get_preparation_data("a worker")["sys_path"]


def test_a_file_beside_a_table_does_not_take_the_place_of_a_module(tmp_path):
    write(tmp_path, "raise RuntimeError", "colorsys.py")
    read_table(write(tmp_path, "variants: {none: {}, gc: {block: gc, stages: c4}}"))
    sys.modules.pop("colorsys", None)
    assert Path(import_module("colorsys").__file__).parent != tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TABLE = 3", "has no TABLE"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError"),
        (PYTHON.replace('"epochs"', '"epoch"'), "base: detection has no field 'epoch'; did you mean 'epochs'"),
        (PYTHON.replace('{"block": "none"}', '{"blocc": 1}'), "variant 'none': .* did you mean 'block'"),
    ],
)
def test_mistakes_in_python_name_the_file(tmp_path, text, said):
    path = write(tmp_path, text, "my_table.py")
    with pytest.raises(ValueError, match=said) as error:
        read_table(path)
    assert str(error.value).startswith(str(path))
