"""Fields are checked when a configuration is built; what is wrong, and what would be right, is said."""

import pytest

pytest.importorskip("lightning")

from tests.training.toy import toy_config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"block": "gcc"}, "block='gcc'.*did you mean 'gc'"),
        ({"norm": "fixd"}, "did you mean 'fixed'"),
        ({"optimizer": "adam"}, "did you mean 'adamw'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"precision": "bf16"}, "precision='bf16'"),
        ({"on_broken": "ignore"}, "on_broken='ignore'.*'error', 'skip'"),
        ({"frozen": ("c6",)}, "frozen='c6'"),
        ({"epochs": 0}, "epochs=0 must be at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"workers": -1}, "workers=-1 must be at least 0"),
        ({"lr": 0.0}, "lr=0.0 must be positive"),
        ({"lr": float("nan")}, "lr=nan must be positive"),
        ({"clip": -1.0}, "clip=-1.0 must be positive"),
        ({"added_lr": -1.0}, "added_lr=-1.0 must not be negative"),
        ({"warmup_start": 2.0}, "warmup_start=2.0 must lie between 0 and 1"),
        ({"warmup": 1.0, "warmup_steps": 5}, "give one of them"),
        ({"ema": 1.0}, "ema=1.0 must lie between 0 and 1"),
        ({"milestones": (2,)}, "go with schedule='steps', got schedule='cosine'"),
        ({"schedule": "steps"}, "go with schedule='steps'"),
        ({"schedule": "steps", "milestones": (3, 2)}, "must be increasing"),
        ({"stages": ("c3",)}, "give one of them"),
        ({"match": ()}, "give one of them"),
    ],
)
def test_mistakes(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        toy_config(tmp_path, **fields)


def test_no_block_needs_no_place(tmp_path):
    assert toy_config(tmp_path, block="none", match=(), ratio=None).match == ()
