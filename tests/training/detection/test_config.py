"""What a configuration of a detector refuses."""

from pathlib import Path

import pytest

pytest.importorskip("lightning")

from tests.training.detection.configs import config


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"conventions": "mmdetection"}, "conventions"),
        ({"image_size": ()}, "image_size"),
        ({"image_size": (16,)}, "at least 32"),
        ({"image_size": (64, 128)}, r"max_size=96 is less than image_size=\(64, 128\)"),
        ({"mirror": 1.5}, "mirror=1.5 must lie between 0 and 1"),
        ({"anchor_scale": 0.0}, "anchor_scale"),
        ({"max_detections": 0}, "max_detections=0 must be at least 1"),
    ],
)
def test_what_is_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        config(Path("data"), **options)
