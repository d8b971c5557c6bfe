"""gcnet convert: report, exit status, and that nothing is written unless all is well."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

import gcnet
from gcnet.checkpoints.cli import convert
from gcnet.cli import main


@pytest.fixture
def source(tmp_path):
    state = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=3).state_dict()
    tensors = {f"backbone.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    tensors |= {f"head.{key}": value for key, value in state.items() if key.startswith("fc.")}
    save_file(tensors, tmp_path / "mm.safetensors")
    return tmp_path / "mm.safetensors"


def add(source, key):
    save_file({**load_file(source), key: torch.zeros(2)}, source)


def test_there_and_back_is_the_same_file(source, tmp_path, capsys):
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    assert main(["convert", str(source), str(ours)]) == 0
    assert "mm ResNet -> gcnet" in capsys.readouterr().out
    with safe_open(ours, "pt") as file:
        assert file.metadata()
    assert convert([str(ours), str(back), "--to", "mm ResNet"]) == 0
    first, last = load_file(source), load_file(back)
    assert first.keys() == last.keys()
    assert all(torch.equal(first[key], last[key]) for key in first)


def test_unused_keys_stop_it_until_they_are_allowed(source, tmp_path, capsys):
    add(source, "decode_head.conv_seg.weight")
    target = tmp_path / "ours.safetensors"
    assert convert([str(source), str(target)]) == 1
    assert not target.exists()
    assert "decode_head.conv_seg.weight" in capsys.readouterr().out
    assert convert([str(source), str(target), "--allow-unused", "decode_head.*"]) == 0
    assert target.exists()


def test_dry_run_and_json(source, tmp_path, capsys):
    assert convert([str(source), "--dry-run", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    assert report["steps"][0]["source"] == "mm ResNet"
    assert [path.name for path in tmp_path.iterdir()] == ["mm.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "mm RasNet"], "did you mean 'mm ResNet'"),
        (["--to", "tim ResNet"], "did you mean 'timm ResNet'"),
        (["--option", "stile=caffe"], "did you mean 'style'"),
        (["--option", "style"], "is not NAME=VALUE"),
        (["--allow-unused", "neck.*"], "matches none of the 0 unused keys"),
    ],
)
def test_errors_are_told_and_nothing_is_written(source, tmp_path, capsys, arguments, message):
    target = tmp_path / "ours.safetensors"
    assert convert([str(source), str(target), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not target.exists()


def test_list_names_the_layouts(capsys):
    assert convert(["--list"]) == 0
    assert "timm ResNet" in capsys.readouterr().out.splitlines()


def test_the_configuration_in_an_old_file_tells_the_style(tmp_path, capsys):
    state = ResNet(Bottleneck, (1, 1, 1, 1)).state_dict()
    tensors = {f"backbone.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    config = "model = dict(backbone=dict(type='ResNet', style='caffe'))"
    torch.save({"meta": {"config": config}, "state_dict": tensors}, tmp_path / "mm.pth")
    assert convert([str(tmp_path / "mm.pth"), str(tmp_path / "ours.safetensors")]) == 0
    assert "style" not in capsys.readouterr().out
    with safe_open(tmp_path / "ours.safetensors", "pt") as file:
        assert '"stride_in_1x1": true' in str(file.metadata())


def test_the_target_is_checked_before_anything_is_read(source, tmp_path, capsys):
    assert convert([str(source), str(source)]) == 2
    said = capsys.readouterr()
    assert "exists" in said.err
    assert "--overwrite" in said.err
    assert not said.out
    assert convert([str(source), str(tmp_path / "ours.onnx")]) == 2
    assert "ends in '.onnx'" in capsys.readouterr().err


def test_a_file_is_replaced_by_its_conversion_on_request(source, tmp_path, capsys):
    assert convert([str(source), str(source), "--overwrite"]) == 0
    assert f"written: {source}" in capsys.readouterr().out
    assert "layer1.0.conv1.weight" in load_file(source)
    assert [path.name for path in tmp_path.iterdir()] == ["mm.safetensors"]


def test_averages_are_converted_on_request(source, tmp_path, capsys):
    plain = load_file(source)
    averages = {key: value + 1 for key, value in plain.items()}
    torch.save({"state_dict": plain, "ema_state_dict": averages}, tmp_path / "mm.pth")
    target = tmp_path / "ours.safetensors"
    assert convert([str(tmp_path / "mm.pth"), str(target), "--container", "ema_state_dict"]) == 0
    assert "more in state_dict: choose with container= (--container)" in capsys.readouterr().out
    assert torch.equal(load_file(target)["bn1.bias"], averages["backbone.bn1.bias"])
    assert torch.equal(
        gcnet.load(tmp_path / "mm.pth", container="ema_state_dict").bn1.bias, load_file(target)["bn1.bias"]
    )


def test_weights_that_are_not_finite_are_converted_on_request(source, tmp_path, capsys):
    tensors = load_file(source)
    tensors["head.fc.bias"][0] = float("inf")
    save_file(tensors, source)
    target = tmp_path / "ours.safetensors"
    assert convert([str(source), str(target)]) == 2
    assert "head.fc.bias: 1 of 3 values are NaN or infinite; allow_nan=True (--allow-nan)" in capsys.readouterr().err
    assert convert([str(source), str(target), "--allow-nan"]) == 0


def test_a_file_of_ours_that_lost_a_key_is_not_converted(source, tmp_path, capsys):
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    assert convert([str(source), str(ours)]) == 0
    with safe_open(ours, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(ours)
    del tensors["layer2.0.conv1.weight"]
    save_file(tensors, ours, metadata)
    assert convert([str(ours), str(back), "--to", "mm ResNet"]) == 1
    assert "  layer2.0.conv1.weight\n" in capsys.readouterr().out
    assert not back.exists()


def test_added_weights_alone_are_not_converted(tmp_path, capsys):
    model = ResNet(BasicBlock, (1, 1, 1, 1))
    gcnet.insert(model, gcnet.SqueezeExcite.spec(ratio=1 / 4), stages="c5")
    gcnet.save(model, tmp_path / "added.safetensors", added_only=True)
    assert convert([str(tmp_path / "added.safetensors"), "--dry-run"]) == 2
    assert "added weights only" in capsys.readouterr().err


def test_what_is_left_behind_is_said(source, tmp_path, capsys):
    file = {"state_dict": load_file(source), "meta": {"CLASSES": ("cat", "dog")}, "epoch": 12}
    torch.save(file, tmp_path / "mm.pth")
    assert convert([str(tmp_path / "mm.pth"), str(tmp_path / "ours.safetensors")]) == 0
    assert "not weights, left behind: epoch, meta" in capsys.readouterr().out
    assert convert([str(tmp_path / "ours.safetensors"), "--dry-run"]) == 0
    assert "left behind" not in capsys.readouterr().out
