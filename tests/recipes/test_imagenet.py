"""ImageNet as published: sizes of the networks, schedules, augmentation."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.recipes.table import find_recipe
from gcnet.training.network import classifier
from gcnet.training.optimisation import lr_factor, lr_scale

#: Recipe -> millions of parameters counted for the paper's tables, top-1, top-5.
PAPER = {
    "imagenet-r50": (25.557, 76.88, 93.16),
    "imagenet-r50-nl1-finetune": (27.657, 77.20, 93.51),
    "imagenet-r50-snl1-finetune": (26.608, 77.28, 93.60),
    "imagenet-r50-gc1-finetune": (25.690, 77.34, 93.52),
    "imagenet-r50-gc-finetune": (28.079, 77.70, 93.66),
    "imagenet-r50-avg-scale-finetune": (28.064, 77.26, 93.55),
    "imagenet-r50-avg-add-finetune": (28.064, 77.40, 93.60),
    "imagenet-r50-att-scale-finetune": (28.079, 77.34, 93.48),
}


def config_of(name):
    return find_recipe(name).make(Path("imagenet"))


@pytest.mark.parametrize("name", PAPER)
def test_sizes_and_scores(name):
    millions, top1, top5 = PAPER[name]
    assert dict(find_recipe(name).published) == {"top-1": top1, "top-5": top5}
    with torch.device("meta"):
        net = classifier(replace(config_of(name), weights=None), 1000)
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)


def test_from_scratch():
    config = config_of("imagenet-r50-gc")
    assert (config.epochs, config.weights, config.optimizer, config.momentum) == (120, None, "sgd", 0.9)
    assert lr_scale(config, world=8) == 1
    per_epoch = 1_281_167 // 256
    assert 0.1 * lr_factor(config, 5 * per_epoch, per_epoch) == pytest.approx(0.1)
    assert 0.1 * lr_factor(config, 5 * per_epoch // 2, per_epoch) == pytest.approx(0.05, rel=1e-3)
    assert lr_factor(config, 120 * per_epoch - 1, per_epoch) == pytest.approx(0, abs=1e-6)


def test_augmentation_of_senet():
    config = config_of("imagenet-r50")
    assert (config.crop_scale, config.crop_ratio, config.mirror) == ((0.08, 1.0), (3 / 4, 4 / 3), 0.5)
    assert (config.rotation, config.pixel_jitter, config.image_size, config.resize) == (10, 20, 224, 256)


def test_fine_tuning_starts_at_its_rate():
    config = config_of("imagenet-r50-gc-finetune")
    assert (config.epochs, config.lr, config.lr_batch, config.schedule) == (40, 0.02, 256, "cosine")
    assert lr_factor(config, 0, 5004) == 1
    assert config.weights == "pretrained:IMAGENET1K_V1"


def test_one_block_stands_before_the_last_residual_block_of_c4():
    config = config_of("imagenet-r50-gc1-finetune")
    assert (config.match, config.position, config.ratio) == (("layer3.4",), "after_block", 1 / 16)
