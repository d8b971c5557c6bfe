"""Learning rates, groups and schedules against values written out by hand."""

import pytest
import torch

pytest.importorskip("lightning")

from torch import nn

import gcnet
from gcnet.training.optimisation import describe_lr, lr_factor, optimizer_and_schedule
from tests.training.toy import toy_config


@pytest.fixture
def net():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU())
    gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 2), match="2", example=torch.zeros(1, 3, 4, 4))
    return net


def groups(net, tmp_path, world=1, **fields):
    made = optimizer_and_schedule(net, toy_config(tmp_path, **fields), steps=30, world=world)["optimizer"]
    return made, {group["name"]: (group["initial_lr"], group["weight_decay"]) for group in made.param_groups}


def test_groups(net, tmp_path):
    fields = {"lr": 0.1, "added_lr": 0.4, "weight_decay": 0.01}
    optimizer, made = groups(net, tmp_path, **fields, optimizer="sgd", nesterov=True)
    assert made == {
        "host": (0.1, 0.01),
        "host, no decay": (0.1, 0),
        "added": (0.4, 0.01),
        "added, no decay": (0.4, 0),
    }
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["nesterov"]
    assert optimizer.defaults["momentum"] == 0.9
    _, made = groups(net, tmp_path, **fields, decay_all=True)
    assert {decay for _, decay in made.values()} == {0.01}


def test_the_rate_is_scaled_with_the_samples_per_step(net, tmp_path):
    fields = {"lr": 0.02, "added_lr": 0.04, "lr_batch": 16, "batch_size": 2, "accumulate": 2}
    _, made = groups(net, tmp_path, world=2, **fields)
    assert made["host"][0] == pytest.approx(0.02 * 8 / 16)
    assert made["added"][0] == pytest.approx(0.04 * 8 / 16)
    line = describe_lr(toy_config(tmp_path, **fields), 2)
    assert line == "learning rate 0.01 (blocks 0.02): 0.02 for 16 samples per step, scaled to 8"


@pytest.mark.parametrize(
    ("fields", "factors"),
    [
        ({"schedule": "constant", "warmup": 0}, {0: 1, 29: 1}),
        ({"schedule": "cosine", "warmup": 0}, {0: 1, 15: 0.5, 30: 0}),
        ({"schedule": "cosine", "warmup": 1.0}, {0: 0.1, 9: 1, 10: 1, 20: 0.5, 30: 0}),
        ({"schedule": "poly", "warmup": 0}, {0: 1, 15: 0.5**0.9, 30: 0}),
        ({"schedule": "steps", "warmup": 0, "milestones": (1, 2)}, {9: 1, 10: 0.1, 19: 0.1, 20: 0.01}),
        ({"schedule": "steps", "warmup": 0, "milestones": (2,), "gamma": 0.5}, {19: 1, 20: 0.5}),
        ({"schedule": "constant", "warmup": 0, "warmup_steps": 3, "warmup_start": 0.25}, {0: 0.5, 1: 0.75, 2: 1, 3: 1}),
    ],
)
def test_schedules_over_three_epochs_of_ten_steps(tmp_path, fields, factors):
    config = toy_config(tmp_path, **fields)
    assert {step: lr_factor(config, step, 10) for step in factors} == pytest.approx(factors, abs=1e-12)
