"""Scenes by class: the label is of the digit in the middle, which only the whole scene tells."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("sklearn")

from gcnet.training.scenes.classification import CLASSES, ClassificationScenes, middle_first
from gcnet.training.scenes.compose import compose
from gcnet.training.scenes.make import make_scenes


@pytest.mark.parametrize(("size", "digits"), [(64, 8), (48, 9), (128, 30)])
def test_the_digit_in_the_middle_has_the_label(size, digits):
    settings = ClassificationScenes(train=60, val=1, size=size, digits=digits)
    scenes = compose(settings, "train", places=middle_first)
    middle = (slice(None), *[slice(size // 2 - 4, size // 2 + 4)] * 2)
    masks, owners = scenes.masks[middle], scenes.owners[middle]
    assert set(np.unique(owners)) <= {0, 1}
    assert (owners == 1).any(axis=(1, 2)).mean() > 0.95  # there is nothing in the middle of a zero
    assert np.array_equal(masks[owners == 1], (1 + scenes.bright[:, :1, None] * np.ones_like(owners))[owners == 1])


def test_grey_of_the_middle_does_not_tell():
    """The best threshold on the true brightness of the digit alone is right for about 70 % of the scenes."""
    scenes = compose(ClassificationScenes(train=2000, val=1, size=48), "train", places=middle_first)
    bright = scenes.bright[:, 0]
    level = scenes.base + np.where(bright, 0.08, -0.08)
    best = max(((level > threshold) == bright).mean() for threshold in np.linspace(0.2, 0.9, 71))
    assert 0.62 < best < 0.74
    assert 0.45 < bright.mean() < 0.55


def test_folders_hold_what_was_composed(tmp_path):
    settings = ClassificationScenes(train=5, val=3)
    root = make_scenes("classification", tmp_path / "scenes", settings)
    for split in ("train", "val"):
        scenes = compose(settings, split, places=middle_first)
        paths = sorted((root / split).rglob("*.png"), key=lambda path: path.name)
        for path, image, bright in zip(paths, scenes.images, scenes.bright[:, 0], strict=True):
            assert path.parent.name == CLASSES[int(bright)]
            with Image.open(path) as picture:
                assert np.array_equal(np.asarray(picture), image)


def test_too_many_digits_around_the_middle():
    with pytest.raises(ValueError, match="digits=14 must be at most 13"):
        ClassificationScenes(digits=14)
