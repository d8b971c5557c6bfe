"""COCO as published: sizes of the networks, scores, schedules, frozen parts."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.recipes.coco import RECIPES
from gcnet.recipes.table import find_recipe
from gcnet.training.detection.network import build_detector
from gcnet.training.optimisation import lr_factor, lr_scale

#: Mask R-CNN without blocks in millions, and residual blocks in c3, c4 and c5.
HOSTS = {"r50": (44.401, (4, 6, 3)), "r101": (63.393, (4, 23, 3)), "x101": (63.021, (4, 23, 3))}
#: Of the README of the official repository: backbone, norm, schedule -> box and mask AP without, with r16, with r4.
README = """
r50 fixed 1x: 37.3/34.2 38.5/35.1 38.9/35.5
r50 fixed 2x: 38.2/34.9 39.7/36.1 40.0/36.2
r50 sync 1x: 37.2/33.8 39.4/35.7 39.9/36.2
r50 sync 2x: 37.7/34.3 39.7/36.0 40.2/36.3
r101 fixed 1x: 39.4/35.9 40.8/37.0 40.8/36.9
r101 sync 1x: 39.8/36.0 41.1/37.4 41.7/37.6
x101 sync 1x: 41.2/37.3 42.4/38.0 42.9/38.5
"""
ROWS = [
    (f"coco-{backbone}-{block}-{norm}-{schedule}", backbone, block, float(box), float(mask))
    for line in README.strip().splitlines()
    for backbone, norm, schedule, scores in [re.fullmatch(r"(\S+) (\S+) (\S+): (.*)", line).groups()]
    for block, score in zip(("plain", "gc-r16", "gc-r4"), scores.split(), strict=True)
    for box, mask in [score.split("/")]
]


def added(depths, r):
    """Parameters of GC blocks, by the formula of the paper with biases and LayerNorm."""
    return sum(
        count * (2 * c * c // r + 2 * c + 3 * c // r + 1) for count, c in zip(depths, (512, 1024, 2048), strict=True)
    )


@pytest.mark.parametrize(("name", "backbone", "block", "box", "mask"), ROWS)
def test_scores(name, backbone, block, box, mask):
    assert dict(find_recipe(name).published) == {"box AP": box, "mask AP": mask}


def test_nothing_else_is_listed():
    assert [recipe.name for recipe in RECIPES] == [row[0] for row in ROWS]


@pytest.mark.parametrize(("name", "backbone", "block"), [row[:3] for row in ROWS if row[0].endswith("sync-1x")])
def test_sizes(name, backbone, block):
    millions, depths = HOSTS[backbone]
    if block != "plain":
        millions += added(depths, int(block.removeprefix("gc-r"))) / 1e6
    with torch.device("meta"):
        net = build_detector(replace(find_recipe(name).make(Path("coco")), weights=None), 80)
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(millions, abs=6e-4)
    frozen = {key.split(".")[2] for key, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == {"conv1", "bn1", "layer1"}


def test_the_papers_sizes():
    assert 44.401 + added((4, 6, 3), 16) / 1e6 == pytest.approx(46.92, abs=5e-3)
    assert 44.401 + added((4, 6, 3), 4) / 1e6 == pytest.approx(54.40, abs=5e-3)


@pytest.mark.parametrize(("schedule", "epochs", "drops"), [("1x", 12, (8, 11)), ("2x", 24, (16, 22))])
def test_schedules(schedule, epochs, drops):
    config = find_recipe(f"coco-r50-gc-r16-sync-{schedule}").make(Path("coco"))
    assert (config.epochs, config.milestones, config.batch_size) == (epochs, drops, 2)
    assert lr_scale(config, world=8) == 1
    steps = 117_266 // 16
    rates = [0.02 * lr_factor(config, step, steps) for step in (0, 499, 500, drops[0] * steps, drops[1] * steps)]
    assert rates == pytest.approx([0.02 / 3, 0.02, 0.02, 0.002, 0.0002], rel=5e-3)


def test_the_other_settings():
    config = find_recipe("coco-r50-gc-r4-fixed-1x").make(Path("coco"))
    assert (config.optimizer, config.lr, config.momentum, config.weight_decay) == ("sgd", 0.02, 0.9, 1e-4)
    assert (config.clip, config.decay_all, config.image_size, config.max_size) == (35, True, (800,), 1333)
    assert (config.norm, config.ratio, config.stages, config.position) == (
        "fixed",
        1 / 4,
        ("c3", "c4", "c5"),
        "after_1x1",
    )
    assert (config.rois, config.proposals, config.score_threshold, config.max_detections) == (512, 1000, 0.05, 100)
