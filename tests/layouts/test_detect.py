"""Blocks are found in state dicts of networks, and nothing else is taken for one."""

from collections import Counter

import pytest
import torch

from gcnet.layouts.detect import find_blocks
from tests.layouts.sources import SOURCES


@pytest.mark.parametrize("name", SOURCES)
def test_a_block_alone(name):
    source = SOURCES[name]
    tensors, _ = source.make()
    ((prefix, layouts),) = find_blocks(tensors)
    assert prefix == ""
    assert source.layout in [layout.name for layout in layouts]


@pytest.mark.parametrize(
    ("name", "layouts"),
    [
        ("mmcv NonLocal 2d dot_product", ["mmcv NonLocal", "GCNet repository NonLocal2D"]),
        ("mmcv NonLocal 2d gaussian", ["mmcv NonLocal"]),
        ("timm SEModule ", ["timm SEModule", "torchvision SqueezeExcitation"]),
        ("SlowFast Nonlocal dot_product bn ", ["SlowFast Nonlocal"]),
        ("pytorchvideo NonLocal dot_product norm ", ["pytorchvideo NonLocal"]),
        ("pytorchvideo NonLocal dot_product no norm ", ["pytorchvideo NonLocal"]),
    ],
)
def test_candidates_come_in_a_stated_order(name, layouts):
    tensors, _ = SOURCES[name.strip()].make()
    inside = {f"layer3.1.attention.{key}": value for key, value in tensors.items()}
    ((prefix, found),) = find_blocks({"conv1.weight": torch.zeros(8, 3, 7, 7), **inside})
    assert prefix == "layer3.1.attention."
    assert [layout.name for layout in found] == layouts


def modules_named(model, *names):
    return [f"{path}." for path, module in model.named_modules() if type(module).__name__ in names]


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("gcresnext26ts", ["GlobalContext"]),
        ("seresnext26t_32x4d", ["SEModule"]),
        ("legacy_seresnet18", ["SEModule"]),
        ("mobilenetv3_small_050", ["SqueezeExcite"]),
        ("rexnet_100", []),  # its SE has a BatchNorm
        ("vit_tiny_patch16_224", []),
        ("poolformer_s12", []),  # its MLPs are 1x1 convolutions named fc1 and fc2
        ("efficientformer_l1", []),
    ],
)
def test_networks_of_timm(name, classes):
    timm = pytest.importorskip("timm", reason="needs timm")
    with torch.device("meta"):
        model = timm.create_model(name)
    assert [prefix for prefix, _ in find_blocks(model.state_dict())] == modules_named(model, *classes)


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf", "resnet18"])
def test_networks_of_torchvision(name):
    models = pytest.importorskip("torchvision.models", reason="needs torchvision")
    model = models.get_model(name)
    found = find_blocks(model.state_dict())
    assert [prefix for prefix, _ in found] == modules_named(model, "SqueezeExcitation")
    assert {len(layouts) for _, layouts in found} <= {2}


def test_counters_may_be_missing_but_nothing_else():
    tensors, _ = SOURCES["timm NonLocalAttn"].make()
    counter = tensors.pop("norm.num_batches_tracked")
    assert Counter(str(layout) for _, layouts in find_blocks(tensors) for layout in layouts) == {"timm NonLocalAttn": 1}
    assert not find_blocks({key: value for key, value in tensors.items() if key != "z.bias"})
    assert not find_blocks({**tensors, "norm.num_batches_tracked": counter, "surplus": counter})
