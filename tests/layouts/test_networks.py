"""Network layouts: templates, detection and both directions of every table of names."""

import pytest
import torch

from gcnet.checkpoints.survey import detect, survey
from gcnet.layouts import BLOCK_LAYOUTS, NETWORK_LAYOUTS
from gcnet.layouts.network import fits

HOST = ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.0.downsample.0.weight", "layer2.1.bn2.bias"]


def named(*keys):
    return dict.fromkeys(keys, torch.zeros(1))


@pytest.mark.parametrize("layout", NETWORK_LAYOUTS.values(), ids=str)
def test_renames_are_inverses(layout):
    for rename in layout.renames:
        fields = {"stage": 3, "block": 4, "index": 1, "level": 2, "leaf": "weight", "rest": "a.b"}
        theirs = rename.theirs.format(**fields)
        assert rename.theirs_of(rename.ours_of(theirs)) == theirs


@pytest.mark.parametrize("layout", NETWORK_LAYOUTS.values(), ids=str)
def test_names_of_blocks_exist(layout):
    assert {child.layout for child in layout.children} | set(layout.in_place) <= set(BLOCK_LAYOUTS)


def test_postfix_is_empty_or_a_number():
    assert fits("context_block{postfix}.{rest}", "context_block12.a.b") == {"postfix": "12", "rest": "a.b"}
    assert fits("context_block{postfix}.{rest}", "context_blocks.a") is None


def test_blocks_tell_the_sources_apart():
    assert detect(named(*HOST)).layout.name == "gcnet"
    for inside, name in (
        ("se.fc1.weight se.fc2.weight", "timm ResNet"),
        ("se.fc.0.weight se.fc.2.weight", "senet.pytorch ResNet"),
        ("nonlocal_block.g.conv.weight nonlocal_block.conv_out.conv.weight", "mm ResNet backbone"),
    ):
        assert detect(named(*HOST, *(f"layer1.0.{key}" for key in inside.split()))).layout.name == name


def test_every_key_finds_its_place_or_is_unused():
    found = survey(named(*HOST, "extra.weight"), NETWORK_LAYOUTS["torchvision ResNet"])
    assert found.unused == ("extra.weight",)
    assert list(found.host) == HOST


def test_unknown_keys_name_the_nearest_layout():
    with pytest.raises(ValueError, match=r"no layout fits these 2 keys .* nearest is 'mm ResNet'.*layer1\.0\.conv1"):
        detect(named("backbone.conv1.weight", "backbone.bn1.weight"))
