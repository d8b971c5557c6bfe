"""Which parameters and statistics stay, in every kind of network that contains a ResNet."""

import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_small, resnet18
from torchvision.models.segmentation import fcn_resnet50

pytest.importorskip("timm")

import timm

import gcnet
from gcnet.models import mask_rcnn, slow_only_r50
from gcnet.models.classifiers import resnet
from gcnet.models.hosts import Host
from gcnet.training.freezing import freeze


def tiny():
    return resnet((1, 1, 1, 1), block="basic", num_classes=2)


NETS = {
    "torchvision": (lambda: resnet18(num_classes=2), ("conv1.", "bn1.", "layer1.")),
    "timm": (lambda: timm.create_model("resnet18"), ("conv1.", "bn1.", "layer1.")),
    "timm regnet": (lambda: timm.create_model("regnetx_002"), ("stem.", "s1.")),
    "torchvision regnet": (
        lambda: Host("torchvision:regnet_y_400mf", {}).build("meta"),
        ("stem.", "trunk_output.block1."),
    ),
    "timm byobnet": (lambda: timm.create_model("gernet_s"), ("stem.", "stages.0.")),
    "detector": (
        lambda: mask_rcnn(tiny(), 3),
        ("backbone.body.conv1.", "backbone.body.bn1.", "backbone.body.layer1."),
    ),
    "segmentation": (
        lambda: fcn_resnet50(weights=None, weights_backbone=None),
        ("backbone.conv1.", "backbone.bn1.", "backbone.layer1."),
    ),
    "video": (slow_only_r50, ("conv1.", "bn1.", "layer1.")),
}


@pytest.mark.parametrize("name", NETS)
def test_stem_and_first_stage(name):
    build, prefixes = NETS[name]
    with torch.device("cpu" if "regnet" in name else "meta"):
        net = build()
    freeze(net, ("stem", "c2"))
    frozen = {key for key, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == {key for key, _ in net.named_parameters() if key.startswith(prefixes)}
    assert frozen


def test_statistics_stay_too_and_blocks_train_on():
    net = tiny()
    gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 4), stages=("c2", "c3"))
    freeze(net, ("c2",))
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    kept = {name for name, value in net.named_buffers() if torch.equal(value, before[name])}
    assert kept == {name for name in before if name.startswith("layer1.")}
    assert {name for name, p in net.named_parameters() if p.grad is None} == {
        name for name, _ in net.named_parameters() if name.startswith("layer1.") and "context_block" not in name
    }


def test_nothing_to_freeze_is_no_question():
    freeze(nn.Linear(2, 2), ())


def test_networks_without_stages():
    with pytest.raises(ValueError, match=r"frozen: MobileNetV3 has no stages of residual blocks; stem, c2, c3, c4"):
        freeze(mobilenet_v3_small(), ("stem",))


def test_a_stage_that_is_not_there():
    net = tiny()
    net.layer4 = nn.Identity()
    with pytest.raises(ValueError, match=r"ResNet has no 'c5'; it has stem, c2, c3, c4"):
        freeze(net, ("c5",))
