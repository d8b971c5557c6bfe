"""Backbones by name, and weights that do or do not fit."""

import pytest
import torch

pytest.importorskip("timm")

from gcnet.training.backbones import build_backbone, load_weights, read_weights


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet18", "timm:resnet18", "timm:resnet10t"])
def test_by_name(name):
    net = build_backbone(name, 3).eval()
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    library = "timm" if name.startswith("timm") else "torchvision"
    assert type(net).__module__.startswith(library)


def test_timm_is_asked_where_torchvision_has_no_such_model():
    assert type(build_backbone("resnet10t", 3)).__module__.startswith("timm")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "neither torchvision nor timm has no such model|did you mean .*resnet18"),
        ("torchvision:resnet10t", "torchvision has no such model; did you mean .*resnet1"),
        ("keras:resnet50", "unknown library 'keras'"),
    ],
)
def test_unknown(name, message):
    with pytest.raises(ValueError, match=message):
        build_backbone(name, 3)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_of_another_number_of_classes(tmp_path, suffix):
    source = build_backbone("resnet18", 7)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(source.state_dict(), path)
    net = build_backbone("resnet18", 3, str(path))
    assert torch.equal(net.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert net.fc.out_features == 3


def test_same_classes_take_the_last_layer_too():
    source, net = build_backbone("resnet18", 3), build_backbone("resnet18", 3)
    assert load_weights(net, source.state_dict(), source="x") == ()
    assert torch.equal(net.fc.weight, source.fc.weight)


def test_weights_of_another_network():
    with pytest.raises(ValueError, match=r"weights=x: \d+ names do not fit ResNet"):
        load_weights(build_backbone("resnet18", 3), build_backbone("resnet34", 3).state_dict(), source="x")


def test_files_that_hold_no_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_weights(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pt: cannot be read as weights"):
        read_weights(tmp_path / "text.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt: holds no state dict"):
        read_weights(tmp_path / "list.pt")


def test_files_are_not_executed(tmp_path):
    torch.save({"state_dict": {"a": print}}, tmp_path / "code.pt")
    with pytest.raises(ValueError, match=r"code\.pt: cannot be read as weights"):
        read_weights(tmp_path / "code.pt")
