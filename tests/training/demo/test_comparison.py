"""The demonstration runs from scenes to report, and its claim holds."""

import dataclasses
import json
import re

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.recipes.context_scenes import context_scenes
from gcnet.training.demo.comparison import run_demo
from gcnet.training.demo.figures import LABEL_COLOURS
from gcnet.training.demo.results import Result, print_table, summarise
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.segmentation.scene_net import SceneNet

TINY = dataclasses.replace(context_scenes(), epochs=1, batch_size=4, examples=2, scenes=SceneSettings(train=12, val=6))


def test_writes_everything(tmp_path, capsys):
    folder = run_demo(dataclasses.replace(TINY, seeds=2, out=tmp_path))
    assert folder == tmp_path / "001"
    out = capsys.readouterr().out
    assert out.rstrip().endswith(f"open {folder / 'report.html'}")
    assert "Means over 2 seeds" in out

    results = json.loads((folder / "results.json").read_text())
    assert [(run["block"], run["seed"]) for run in results["runs"]] == [("none", 0), ("gc", 0), ("none", 1), ("gc", 1)]
    assert [entry["block"] for entry in results["summary"]] == ["none", "gc"]
    assert results["summary"][1]["miou_spread"] >= 0
    assert json.loads((folder / "config.json").read_text())["scenes"]["train"] == 12
    assert (folder / "scenes.png").stat().st_size > 10_000
    assert (folder / "gc-seed1" / "metrics.csv").read_text().startswith("epoch")
    weights = torch.load(folder / "gc-seed0" / "weights.pt", weights_only=True)
    TINY.network("gc").load_state_dict(weights)

    page = (folder / "report.html").read_text()
    assert not re.search(r"\$\{?[a-z]", page), "a placeholder was left"
    assert page.count("data:image/png;base64,") == 2
    assert not re.search(r'(src|href)="(?!data:)', page), "the page must not need other files"
    assert all(colour in page for colour in LABEL_COLOURS)

    assert run_demo(dataclasses.replace(TINY, blocks=("nl",), out=tmp_path)) == tmp_path / "002"


def test_one_seed_starts_every_variant_alike():
    torch.manual_seed(0)
    plain = TINY.network("none").state_dict()
    torch.manual_seed(0)
    with_block = TINY.network("gc").state_dict()
    assert all(torch.equal(value, with_block[key]) for key, value in plain.items())
    assert sum(p.numel() for p in SceneNet(3).parameters()) == 35_136


def test_same_seed_same_scores(tmp_path):
    scores = []
    for name in ("a", "b"):
        folder = run_demo(dataclasses.replace(TINY, blocks=("gc",), out=tmp_path / name))
        scores.append(json.loads((folder / "results.json").read_text())["runs"][0]["history"])
    assert scores[0] == scores[1]


def test_table_shows_spread_only_where_there_is_one(capsys):
    run = Result(block="gc", seed=0, miou=0.5, iou={"digit": 0.5}, parameters=1234, seconds=2.0, history=(0.5,))
    print_table(summarise([run]))
    out = capsys.readouterr().out
    assert "1,234" in out
    assert "±" not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": ("none", "gcc")}, "did you mean 'gc'"),
        ({"blocks": ()}, "at least one"),
        ({"blocks": ("gc", "gc")}, "each once"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 13}, "batch_size=13 is more than the 12"),
        ({"ratio": 1 / 64}, "ratio=1/64"),
        ({"lr": 0}, "lr=0"),
    ],
)
def test_configurations_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **options)


@pytest.mark.slow
def test_context_decides(tmp_path):
    config = dataclasses.replace(
        context_scenes(), epochs=6, examples=1, out=tmp_path, scenes=SceneSettings(train=1000, val=100)
    )
    summary = json.loads((run_demo(config) / "results.json").read_text())["summary"]
    plain, context = (entry["miou"] for entry in summary)
    assert context > plain + 0.08
    assert context > 0.8
