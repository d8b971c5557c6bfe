"""Backbones by name, and weights that do or do not fit."""

import warnings

import pytest
import torch

pytest.importorskip("timm")

from torchvision import models
from torchvision.models import resnet18

import gcnet
from gcnet.checkpoints.convert import to_theirs
from gcnet.training import backbones
from gcnet.training.backbones import build_backbone, fit_weights, read_weights

SPEC = gcnet.GlobalContext.spec(ratio=1 / 4, init="published")


def load_weights(net, path):
    return backbones.load_weights(net, read_weights(path), source=path)


def with_blocks(classes=3, spec=SPEC, stages="c5"):
    net = build_backbone("resnet18", classes)
    gcnet.insert(net, spec, stages=stages)
    for parameter in gcnet.added_parameters(net):
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def assert_same(net, source, but=()):
    own, theirs = net.state_dict(), source.state_dict()
    assert [key for key in own if not torch.equal(own[key], theirs[key])] == list(but)


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet18", "timm:resnet18", "timm:resnet10t"])
def test_by_name(name):
    net = build_backbone(name, 3).eval()
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    library = "timm" if name.startswith("timm") else "torchvision"
    assert type(net).__module__.startswith(library)


def test_resnext_as_torchvision_would_build_it():
    with torch.device("meta"):
        net = build_backbone("gcnet:resnext101_32x4d", 5)
    assert (type(net), net.fc.out_features) == (models.ResNet, 5)
    with pytest.raises(ValueError, match="there are none for gcnet:resnext101_32x4d; give the path or URL of a file"):
        build_backbone("gcnet:resnext101_32x4d", 5, "pretrained")


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


@pytest.mark.parametrize("weights", ["pretrained", "pretrained:IMAGENET1K_V1"])
def test_pretrained_of_torchvision_keeps_all_but_the_classes(weights, monkeypatch):
    published = resnet18()
    monkeypatch.setattr(
        models.ResNet18_Weights, "get_state_dict", lambda self, **options: published.state_dict(), raising=True
    )
    net = build_backbone("resnet18", 5, weights)
    assert torch.equal(net.layer4[1].conv2.weight, published.layer4[1].conv2.weight)
    assert net.fc.out_features == 5


def test_pretrained_of_timm_is_asked_from_timm(monkeypatch):
    asked = []
    monkeypatch.setattr("timm.create_model", lambda name, **options: asked.append((name, options)))
    build_backbone("timm:resnet18", 5, "pretrained")
    build_backbone("timm:resnet18", 5, "pretrained:tv_in1k")
    options = {"num_classes": 5, "pretrained": True}
    assert asked == [("resnet18", options), ("resnet18.tv_in1k", options)]


@pytest.mark.parametrize(
    ("name", "weights", "nearest"),
    [("resnet50", "IMAGENET1K_V3", "IMAGENET1K_V"), ("timm:resnet50", "tv_in1kk", "tv_in1k")],
)
def test_unknown_weights_name_the_nearest(name, weights, nearest):
    with pytest.raises(ValueError, match=f"weights='{weights}'.*did you mean '{nearest}"):
        build_backbone(name, 3, f"pretrained:{weights}")


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18"])
def test_what_cannot_be_downloaded_says_what_to_do(name, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(models.ResNet18_Weights, "get_state_dict", fail)
    monkeypatch.setattr("timm.create_model", fail)
    with pytest.raises(ValueError, match=r"weights='pretrained': cannot be downloaded \(no route to host\); give the"):
        build_backbone(name, 3, "pretrained")


def test_auxiliary_heads_take_another_number_of_classes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source, net = build_backbone("googlenet", 1000), build_backbone("googlenet", 4)
    new = fit_weights(net, source.state_dict(), source="x")
    assert new == ("aux1.fc2.weight", "aux1.fc2.bias", "aux2.fc2.weight", "aux2.fc2.bias", "fc.weight", "fc.bias")
    assert torch.equal(net.inception4a.branch1.conv.weight, source.inception4a.branch1.conv.weight)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_file_of_another_number_of_classes(tmp_path, suffix):
    source = build_backbone("resnet18", 7)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(source.state_dict(), path)
    net = build_backbone("resnet18", 3)
    fresh = net.fc.weight.clone()
    assert load_weights(net, str(path)) == ("fc.weight", "fc.bias")
    assert torch.equal(net.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert torch.equal(net.fc.weight, fresh)


def test_plain_host_into_a_network_with_blocks(tmp_path):
    source, net = build_backbone("resnet18", 3), with_blocks()
    torch.save(source.state_dict(), tmp_path / "host.pth")
    new = load_weights(net, str(tmp_path / "host.pth"))
    assert new
    assert all(".context_block." in name for name in new)
    assert torch.equal(net.fc.weight, source.fc.weight)


def test_network_of_a_run(tmp_path):
    source, net = with_blocks(), with_blocks()
    state = {f"net.{key}": value for key, value in source.state_dict().items()}
    checkpoint = {"state_dict": {**state, "top1.tp": torch.zeros(1)}, "history": [], "optimizer_states": [{}]}
    torch.save(checkpoint, tmp_path / "best.ckpt")
    assert load_weights(net, str(tmp_path / "best.ckpt")) == ()
    assert_same(net, source)


def test_file_of_gcnet_save(tmp_path):
    source, net = with_blocks(classes=7), with_blocks()
    path = gcnet.save(source, tmp_path / "model.safetensors")
    assert load_weights(net, str(path)) == ("fc.weight", "fc.bias")
    assert torch.equal(net.layer4[0].context_block.add.expand.weight, source.layer4[0].context_block.add.expand.weight)


def test_foreign_layout_becomes_ours(tmp_path):
    source, net = with_blocks(), with_blocks()
    headless = with_blocks()
    headless.load_state_dict(source.state_dict())
    headless.fc = torch.nn.Identity()
    tensors = to_theirs(headless, layout="mm ResNet").tensors
    torch.save({"state_dict": tensors, "meta": {}}, tmp_path / "mm.pth")
    assert load_weights(net, str(tmp_path / "mm.pth")) == ("fc.weight", "fc.bias")
    assert_same(net, source, but=("fc.weight", "fc.bias"))


def test_blocks_that_the_network_lacks_or_has_otherwise(tmp_path):
    path = str(gcnet.save(with_blocks(), tmp_path / "model.safetensors"))
    with pytest.raises(ValueError, match=r"has 2 blocks, such as GlobalContext.*'layer4.0.context_block', where this"):
        load_weights(build_backbone("resnet18", 3), path)
    with pytest.raises(ValueError, match=r"choose block, ratio and init alike"):
        load_weights(with_blocks(spec=gcnet.SqueezeExcite.spec(ratio=1 / 4)), path)


def test_weights_of_another_network(tmp_path):
    torch.save(build_backbone("resnet34", 3).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"weights=.*other.pth: \d+ names do not fit ResNet; layer1.2.* is not part"):
        load_weights(build_backbone("resnet18", 3), str(tmp_path / "other.pth"))


def test_half_of_the_blocks_is_no_network(tmp_path):
    state = with_blocks(stages=("c4", "c5")).state_dict()
    torch.save({key: value for key, value in state.items() if "layer3.0.context" not in key}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"layer3.0.context_block.* is missing"):
        load_weights(with_blocks(stages=("c4", "c5")), str(tmp_path / "part.pth"))


def test_files_that_hold_no_weights(tmp_path):
    net = build_backbone("resnet18", 3)
    with pytest.raises(ValueError, match=r"weights=.*none\.pt: no such file"):
        load_weights(net, str(tmp_path / "none.pt"))
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"weights=.*text\.pt: "):
        load_weights(net, str(tmp_path / "text.pt"))
