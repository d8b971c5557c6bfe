"""Fields of the configuration that cannot be."""

import dataclasses
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from gcnet.recipes.classification import classification


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "image_size=0"),
        ({"test_size": 0}, "test_size=0 must be at least 1"),
        ({"test_resize": -1}, "test_resize=-1"),
        ({"test_resize": 90}, "test_resize=90 must be at least the 96 pixels"),
        ({"interpolation": "bicubik"}, "did you mean 'bicubic'"),
        ({"val_fraction": 1.0}, r"val_fraction=1\.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing=1\.0"),
        ({"mirror": 1.5}, r"mirror=1\.5"),
        ({"erasing": -0.1}, r"erasing=-0\.1"),
        ({"colour_jitter": 2.0}, r"colour_jitter=2\.0"),
        ({"rotation": 200.0}, "rotation=200.0 .* degrees"),
        ({"pixel_jitter": -1.0}, "pixel_jitter=-1"),
        ({"mixup": -1.0}, "mixup=-1"),
        ({"cutmix": -1.0}, "cutmix=-1"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale"),
        ({"crop_scale": (0.5, 1.5)}, "crop_scale=.* whole image"),
        ({"crop_ratio": (2.0, 1.0)}, "crop_ratio"),
        ({"shard_lanes": 0}, "shard_lanes=0"),
        ({"train_shards": "a.tar"}, "needs val_shards as well, such as"),
        ({"val_shards": "a.tar"}, "needs train_shards"),
    ],
)
def test_values_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(classification(Path("photos")), **options)


def test_sizes_of_validation_images():
    config = classification(Path("photos"))
    assert (config.crop, config.resize) == (96, 110)
    config = dataclasses.replace(config, image_size=224)
    assert (config.crop, config.resize) == (224, 256)
    config = dataclasses.replace(config, test_size=288, test_resize=288)
    assert (config.crop, config.resize) == (288, 288)
