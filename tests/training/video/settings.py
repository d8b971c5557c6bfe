"""The smallest video configuration, and data for it."""

from pathlib import Path

from gcnet.training.video.config import VideoConfig


def settings(data: Path, **fields) -> VideoConfig:
    values = {
        "data": data,
        "backbone": "slow_only_r10",
        "block": "gc",
        "ratio": 1 / 4,
        "stages": ("c4",),
        "epochs": 1,
        "batch_size": 4,
        "lr": 1e-3,
        "weight_decay": 0.01,
        "frames": 4,
        "stride": 2,
        "crop": 16,
        "short_side": (16, 20),
        "test_crop": 16,
        "mirror": 0.0,
        "workers": 0,
        "threads": 1,
        "loggers": (),
        "out": data.parent / "runs",
    }
    return VideoConfig(**{**values, **fields})
