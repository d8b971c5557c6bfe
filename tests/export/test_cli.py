import json

import pytest
import torch

import gcnet
from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.convert import to_theirs
from gcnet.export.cli import export
from gcnet.export.models import open_model
from gcnet.models import inflate, mask_rcnn
from tests.insertion.nets import modified, resnet

SMALL = ["resnet18", "--position", "after_1x1", "--stages", "c5", "--input", "3x64x64", "--to"]


def saved(model, folder):
    return str(gcnet.save(model, folder / "saved.safetensors"))


def runs_as(model, path, x):
    with torch.no_grad():
        expected = model(x)
    return (torch.export.load(path).module()(x) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_report_of_a_checkpoint(tmp_path, capsys):
    model, out = modified(), tmp_path / "m.pt2"
    assert export([saved(model, tmp_path), str(out), "--to", "pt2", "--input", "3x64x64", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["inputs"] == [{"name": "input", "shape": ["batch", 3, "height", "width"]}]
    assert done["bytes"] == out.stat().st_size
    assert runs_as(model, out, torch.randn(3, 3, 65, 70))


def test_a_checkpoint_of_mm(tmp_path):
    model, path = modified(), tmp_path / "epoch_12.pth"
    theirs = to_theirs(model.state_dict(), Architecture.of(model), layout="mm ResNet")
    torch.save({"meta": {"epoch": 12}, "state_dict": theirs.tensors}, path)
    assert "backbone.layer2.0.context_block.conv_mask.weight" in theirs.tensors
    out = tmp_path / "m.pt2"
    assert export([str(path), str(out), "--to", "pt2", "--input", "3x64x64"]) == 0
    assert runs_as(model, out, torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("model", "size"),
    [
        (gcnet.GlobalContext(64), (64, 14, 14)),
        (gcnet.CBAM(64, dims=3), (64, 14, 14, 14)),
        (modified(), (3, 224, 224)),
        (inflate(resnet()), (3, 8, 224, 224)),
        (mask_rcnn(modified(), num_classes=4), (3, 224, 224)),
    ],
    ids=["block", "3D block", "network", "video", "detector"],
)
def test_usual_size_of_a_checkpoint(model, size, tmp_path):
    opened, usual = open_model(saved(model, tmp_path))
    assert usual == size
    with torch.no_grad():
        opened(torch.randn(1, *size))


def test_report_of_a_name(tmp_path, capsys):
    out = tmp_path / "m.pt2"
    assert export([*SMALL, "pt2", str(out), "--fixed-batch"]) == 0
    printed = capsys.readouterr().out
    assert "2 x 3 x height x width" in printed
    assert "least size: 33 x 33" in printed


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
        (["./resnet18", "m.pt2", "--to", "pt2"], "no such file"),
        (["missing.pth", "m.pt2", "--to", "pt2", "--ratio", "1/4"], "for names of networks"),
        (["resnet18", "m.pt2", "--to", "pt2", "--batch", "0"], "must be positive"),
        (["resnet18", "m.pt2", "--to", "pt2", "--input", "3x8x64x64"], "does not take an example of (2, 3, 8, 64, 64)"),
    ],
)
def test_errors(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert export(arguments) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
