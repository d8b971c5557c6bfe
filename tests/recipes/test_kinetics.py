"""Kinetics as published: sizes of the networks, scores, schedules."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.recipes.table import find_recipe
from gcnet.training.optimisation import lr_factor, lr_scale
from gcnet.training.video.networks import video_network

#: Recipe -> millions of parameters counted for the paper's table, top-1, top-5.
PAPER = {
    "kinetics-slow-only-plain": (32.454, 74.94, 91.90),
    "kinetics-slow-only-nl5": (39.810, 75.95, 92.29),
    "kinetics-slow-only-snl5": (36.132, 75.76, 92.44),
    "kinetics-slow-only-gc5": (34.300, 75.85, 92.25),
    "kinetics-slow-only-gc": (42.455, 76.00, 92.34),
}
STEPS = 3750  # of an epoch: 240,000 videos, 64 clips per step


def config_of(name):
    return find_recipe(name).make(Path("kinetics"))


@pytest.mark.parametrize("name", PAPER)
def test_sizes_and_scores(name):
    millions, top1, top5 = PAPER[name]
    assert dict(find_recipe(name).published) == {"top-1": top1, "top-5": top5}
    with torch.device("meta"):
        net = video_network(replace(config_of(name), weights=None), 400)
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(millions, abs=3e-3)


def test_the_schedule_of_slowfast():
    config = config_of("kinetics-slow-only-gc")
    assert (config.frames, config.stride, config.crop, config.short_side) == (8, 8, 224, (256, 320))
    assert (config.test_crop, config.dropout, config.weight_decay) == (256, 0.5, 1e-4)
    assert lr_scale(config, world=8) == 1
    assert 0.1 * lr_factor(config, 0, STEPS) == pytest.approx(0.01, rel=1e-3)
    assert lr_factor(config, 34 * STEPS, STEPS) == pytest.approx(1, rel=1e-3)
    assert lr_factor(config, 196 * STEPS - 1, STEPS) == pytest.approx(0, abs=1e-6)


def test_the_schedule_of_mmaction2():
    config = config_of("kinetics-slow-only-plain-150")
    assert (config.epochs, config.clip, config.nesterov) == (150, 40, False)
    rates = [0.01 * lr_factor(config, epoch * STEPS, STEPS) for epoch in (0, 10, 89, 90, 130)]
    assert rates == pytest.approx([0.001, 0.01, 0.01, 0.001, 0.0001], rel=1e-3)


def test_the_schedule_of_i3d_has_two_steps():
    config = config_of("kinetics-i3d-plain")
    assert (config.backbone, config.frames, config.stride) == ("i3d_r50", 32, 2)
    rates = [0.01 * lr_factor(config, step, STEPS) for step in (0, 149_999, 150_000, 300_000, 400_000)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.0001, 0.0001])


def test_non_local_blocks_are_those_of_the_original():
    config = config_of("kinetics-i3d-nl5")
    with torch.device("meta"):
        net = video_network(replace(config, weights=None), 400)
    block = net.layer2[3].context_block
    assert (block.subsample, block.subsample_size, block.scale) == ("before", (1, 2, 2), 256**-0.5)
    assert block.norm is not None
