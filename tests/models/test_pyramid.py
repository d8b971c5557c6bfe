"""Feature pyramids over networks of torchvision and timm."""

import pytest
import timm
import torch
from torchvision.models import mobilenet_v3_small, resnet18

import gcnet
from gcnet.models.pyramid import feature_pyramid


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "regnetx_002", "mobilenetv3_small_050"])
def test_maps_of_timm_are_its_own(name):
    network = timm.create_model(name, num_classes=3).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        every = network.forward_intermediates(images, intermediates_only=True)
        reference = [map_ for map_ in every if map_.shape[-1] in (24, 12, 6, 3)][-4:]
        maps = feature_pyramid(network, 16).body(images)
    assert [tuple(map_.shape[-2:]) for map_ in maps.values()] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    for map_, wanted in zip(maps.values(), reference, strict=True):
        assert torch.equal(map_, wanted)


def test_blocks_of_the_classifier_stay_at_work():
    network = timm.create_model("resnet18", num_classes=3)
    gcnet.insert(network, gcnet.GlobalContext.spec(ratio=1 / 4, init="published"), stages=("c4", "c5"))
    pyramid = feature_pyramid(network, 16).eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = pyramid(images)["3"]
        for _, parameter in network.layer4[0].context_block.named_parameters():
            parameter.add_(0.5)
        assert not torch.equal(pyramid(images)["3"], before)


def test_levels_of_a_resnet():
    pyramid = feature_pyramid(resnet18(), 32)
    levels = pyramid(torch.zeros(1, 3, 64, 64))
    assert {name: tuple(level.shape[1:]) for name, level in levels.items()} == {
        "0": (32, 16, 16),
        "1": (32, 8, 8),
        "2": (32, 4, 4),
        "3": (32, 2, 2),
        "pool": (32, 1, 1),
    }


@pytest.mark.parametrize("make", [mobilenet_v3_small, lambda: timm.create_model("vit_tiny_patch16_224")])
def test_networks_without_such_maps(make):
    with pytest.raises(TypeError, match="maps of strides 4, 8, 16 and 32"):
        feature_pyramid(make())
