import copy
import json

import pytest
import torch
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

import gcnet
from gcnet.checkpoints.cli import convert
from gcnet.checkpoints.verify import compare
from gcnet.checkpoints.verify_cli import verify
from gcnet.models import mask_rcnn
from tests.insertion.nets import Plain, image, modified, resnet


def detector() -> nn.Module:
    return mask_rcnn(modified(), num_classes=4).eval()


def test_a_change_shows_from_its_stage_on():
    a = modified()
    b = copy.deepcopy(a)
    with torch.no_grad():
        b.layer3[0].conv1.weight[0] += 0.5
    stages = {stage.name: stage for stage in compare(a, b, image()).stages}
    assert list(stages) == ["stem", "c2", "c3", "c4", "c5", "pooled", "fc", "output"]
    assert [name for name, stage in stages.items() if stage.absolute == 0] == ["stem", "c2", "c3"]
    assert stages["output"].absolute == pytest.approx(float((a(image()) - b(image())).detach().abs().max()))
    largest = float(a(image()).detach().abs().max())
    assert stages["output"].relative == pytest.approx(stages["output"].absolute / largest)


@pytest.mark.parametrize(
    ("part", "first"),
    [
        ("backbone.fpn.layer_blocks.1.0.weight", "level 1"),
        ("rpn.head.cls_logits.weight", "proposal logits 0"),
        ("roi_heads.box_head.fc7.weight", "box features"),
        ("roi_heads.box_predictor.bbox_pred.bias", "box offsets"),
        ("roi_heads.mask_predictor.mask_fcn_logits.bias", "masks"),
    ],
)
def test_every_part_of_a_detector_is_seen(part, first):
    a = detector()
    b = copy.deepcopy(a)
    with torch.no_grad():
        b.get_parameter(part).add_(1)
    compared = compare(a, b, image())
    assert next(stage.name for stage in compared.stages if stage.absolute) == first
    assert compare(a, copy.deepcopy(a), image()).within(0)


def test_other_networks_by_their_common_children():
    a = Plain()
    assert [stage.name for stage in compare(a, copy.deepcopy(a), image()).stages] == ["head", "output"]


def test_modes_are_restored_and_hooks_removed():
    a = modified().train()
    compare(a, a, image())
    assert a.training
    assert not a.layer1._forward_hooks


def test_nan_is_a_difference():
    a = resnet()
    b = copy.deepcopy(a)
    b.fc.bias.data[0] = torch.nan
    assert not compare(a, b, image()).within(1e9)
    assert compare(a, b, image()).absolute != compare(a, b, image()).absolute


def test_different_networks_are_named():
    with pytest.raises(ValueError, match=r"different stages: only one has .*c2"):
        compare(resnet(), Plain(), image())
    with pytest.raises(ValueError, match="stage 'fc': shapes"):
        compare(resnet(classes=5), resnet(classes=6), image())
    with pytest.raises(ValueError, match="one network is a detector"):
        compare(detector(), resnet(), image())


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = modified()
    b = copy.deepcopy(a)
    b.fc.bias.data[0] += 0.25
    gcnet.save(a, "a.pth")
    gcnet.save(b, "b.pth")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["a.pth", "a.pth"], 0), (["a.pth", "b.pth"], 1), (["a.pth", "b.pth", "--tolerance", "0.3"], 0)],
)
@pytest.mark.parametrize("precision", [[], ["--float64"]])
def test_exit_status(saved, arguments, status, precision, capsys):
    assert verify([*arguments, *precision, "--input", "1x3x64x64"]) == status
    assert "c5" in capsys.readouterr().out


def test_json(saved, capsys):
    assert verify(["a.pth", "b.pth", "--input", "1x3x64x64", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["same"] is False
    last = printed["stages"][-1]
    assert (last["name"], last["shape"]) == ("output", [1, 5])
    assert last["absolute"] == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize(
    "arguments", [["--input", "3"], ["--input", "1x3xa"], ["--tolerance", "-1"], ["--tolerance", "nan"]]
)
def test_errors(arguments, capsys):
    assert verify(["a.pth", "b.pth", *arguments]) == 2
    assert "error" in capsys.readouterr().err


def test_a_foreign_file_is_read_as_it_was_converted(tmp_path, capsys):
    state = ResNet(Bottleneck, (1, 1, 1, 1)).state_dict()
    foreign = {f"backbone.{key}": value for key, value in state.items() if not key.startswith("fc.")}
    foreign["decode_head.weight"] = torch.zeros(1)
    source, target = str(tmp_path / "mm.pth"), str(tmp_path / "ours.safetensors")
    torch.save(foreign, source)
    options = ["--option", "style=caffe", "--allow-unused", "decode_head.*"]
    assert convert([source, target, *options]) == 0
    assert verify([source, target, "--input", "1x3x64x64", *options]) == 0
    assert verify([source, target, "--input", "1x3x64x64", *options[2:]]) == 1


def test_errors_name_the_file(tmp_path, capsys):
    a = gcnet.save(modified(), tmp_path / "a.safetensors")
    b = gcnet.save(modified(), tmp_path / "b.safetensors", added_only=True)
    assert verify([str(a), str(b)]) == 2
    assert f"error: {b}: the file holds the added weights only" in capsys.readouterr().err


def test_settings_beside_the_weights_are_told(monkeypatch, capsys):
    a = detector().eval()
    b = copy.deepcopy(a)
    b.roi_heads.nms_thresh = 0.1
    monkeypatch.setattr(gcnet, "load", lambda path, **reading: {"a.pth": a, "b.pth": b}[path])
    assert verify(["a.pth", "b.pth", "--input", "1x3x64x64"]) == 0
    assert "built differently; in the second, 'roi_heads' has nms_thresh=0.1, not 0.5" in capsys.readouterr().out
    assert verify(["a.pth", "b.pth", "--input", "1x3x64x64", "--json"]) == 0
    assert "nms_thresh" in json.loads(capsys.readouterr().out)["built_differently"]
