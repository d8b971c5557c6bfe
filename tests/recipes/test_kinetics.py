from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gcnet.recipes import kinetics
from gcnet.training.optimisation import lr_factor, lr_scale
from gcnet.training.video.networks import video_network


@pytest.mark.parametrize(
    ("make", "millions"),
    [
        (kinetics.kinetics_slow_only, 32.454),
        (kinetics.kinetics_slow_only_nl5, 39.804),
        (kinetics.kinetics_slow_only_snl5, 36.132),
        (kinetics.kinetics_slow_only_gc5, 34.300),
        (kinetics.kinetics_slow_only_gc, 42.455),
    ],
)
def test_networks_have_the_published_sizes(make, millions):
    with torch.device("meta"):
        net = video_network(replace(make(Path("kinetics")), weights=None), 400)
    assert sum(parameter.numel() for parameter in net.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_the_schedule_is_that_of_slowfast():
    config = kinetics.kinetics_slow_only(Path("kinetics"))
    assert lr_scale(config, world=8) == 1
    assert 0.1 * lr_factor(config, 0, 3750) == pytest.approx(0.01, rel=1e-3)
    assert lr_factor(config, 34 * 3750, 3750) == pytest.approx(1, rel=1e-3)
    assert lr_factor(config, 196 * 3750 - 1, 3750) == pytest.approx(0, abs=1e-6)


def test_the_schedule_of_i3d_has_two_steps():
    config = kinetics.kinetics_i3d(Path("kinetics"))
    assert [0.01 * lr_factor(config, step, 3750) for step in (0, 149_999, 150_000, 300_000, 400_000)] == pytest.approx(
        [0.01, 0.01, 0.001, 0.0001, 0.0001]
    )
