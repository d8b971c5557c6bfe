import json

import pytest
import torch

import gcnet
from gcnet.export.cli import export
from gcnet.export.models import open_model
from tests.insertion.nets import modified

SMALL = ["resnet18", "--position", "after_1x1", "--stages", "c5", "--input", "3x64x64", "--to"]


def test_report_of_a_checkpoint(tmp_path, monkeypatch, capsys):
    (tmp_path / "m.pth").touch()
    monkeypatch.setattr(gcnet, "load", lambda path: modified(), raising=False)
    out = tmp_path / "m.pt2"
    assert export([str(tmp_path / "m.pth"), str(out), "--to", "pt2", "--input", "3x64x64", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["inputs"] == [{"name": "input", "shape": ["batch", 3, "height", "width"]}]
    assert done["bytes"] == out.stat().st_size


def test_report_of_a_name(tmp_path, capsys):
    out = tmp_path / "m.pt2"
    assert export([*SMALL, "pt2", str(out), "--fixed-batch"]) == 0
    printed = capsys.readouterr().out
    assert "2 x 3 x height x width" in printed
    assert "free spatial axes from 33 on" in printed


def test_a_detector_gives_its_pyramid():
    model, _ = open_model("mask_rcnn:resnet18", stages="c5")
    assert list(model.eval()(torch.randn(1, 3, 64, 64))) == ["0", "1", "2", "3", "pool"]


def test_blocks_of_named_networks_are_not_at_the_identity():
    model, _ = open_model("resnet18", stages="c5")
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole = model.eval()(x)
        with gcnet.disabled(model):
            assert not torch.allclose(model(x), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet18", "m.txt", "--to", "pt2"], "ends in .pt2"),
        (["resnet18", "m.pt2", "--to", "pt3"], "pt2"),
        (["resnet81", "m.pt2", "--to", "pt2"], "did you mean"),
        (["missing.pth", "m.pt2", "--to", "pt2"], "no such file"),
        (["resnet18", "m.pt2", "--to", "pt2", "--batch", "0"], "must be positive"),
    ],
)
def test_errors(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert export(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
