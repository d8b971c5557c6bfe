"""The scenes are what their description says, every time, and the loader names what is wrong with a file."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("sklearn")

from gcnet.training.scenes.compose import CLASS_NAMES, SceneSettings, compose
from gcnet.training.scenes.make import make_scenes
from gcnet.training.segmentation.mask_folder import MaskFolder

QUIET = SceneSettings(train=20, val=10, noise=(0, 0), photo=0)


def test_labels_follow_from_brightness():
    """Without noise and photograph, a solid pixel has exactly the brightness of its digit's label."""
    scenes = compose(QUIET, "train")
    grey = scenes.images[..., 0] / 255
    for image, mask, base in zip(grey, scenes.masks, scenes.base, strict=True):
        for label, level in ((1, base - QUIET.offset), (2, base + QUIET.offset)):
            inside = image[mask == label]
            assert inside.max() == pytest.approx(level, abs=0.5 / 255 + 1e-9)
            assert inside.min() > level / 2 - 1 / 255  # labels start at half opacity
        assert image[mask == 0].max() <= (base + QUIET.offset) / 2 + 1 / 255


def test_both_kinds_straddle_the_average():
    scenes = compose(SceneSettings(train=200, val=1), "train")
    brighter = scenes.bright.sum(1)
    assert brighter.min() >= 2
    assert brighter.max() <= 6
    level = scenes.base[:, None] + np.where(scenes.bright, 0.08, -0.08)
    above = level > level.mean(1, keepdims=True)
    assert np.array_equal(above, scenes.bright)


def test_one_grey_has_both_labels():
    """The same brightness is "darker" in one scene and "brighter" in another, so one pixel cannot decide."""
    scenes = compose(QUIET, "train")
    grey = scenes.images[..., 0]
    shared = np.intersect1d(grey[scenes.masks == 1], grey[scenes.masks == 2])
    assert len(shared) > 50


def test_splits_share_no_digit_and_no_scene_repeats():
    settings = SceneSettings(train=300, val=100)
    train, val = compose(settings, "train"), compose(settings, "val")
    assert not np.intersect1d(train.digit_ids, val.digit_ids).size
    assert len(np.unique(train.images.reshape(300, -1), axis=0)) == 300


def test_same_seed_same_files(tmp_path):
    settings = SceneSettings(train=4, val=2, seed=3)
    first, second = (make_scenes("segmentation", tmp_path / name, settings) for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*.png"))
    assert len(files) == 12
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
    assert json.loads((first / "meta.json").read_text())["settings"]["seed"] == 3
    other = compose(SceneSettings(train=4, val=2, seed=4), "train")
    assert not np.array_equal(other.images, compose(settings, "train").images)


def test_scenes_of_a_seed_never_change(tmp_path):
    """The hash was taken when the demonstration appeared."""
    root = make_scenes("segmentation", tmp_path / "scenes", SceneSettings(train=6, val=3, seed=5))
    pixels = [np.asarray(Image.open(path)).tobytes() for path in sorted(root.rglob("*.png"))]
    expected = "ff9de4978162fd40fff4cf9c0dc6bd29ae75545b380fc7f9d1b544ffdee8f274"
    assert hashlib.sha256(b"".join(pixels)).hexdigest() == expected


def test_files_hold_what_was_composed(tmp_path):
    settings = SceneSettings(train=3, val=2)
    root = make_scenes("segmentation", tmp_path / "scenes", settings)
    scenes = compose(settings, "train")
    images, masks = MaskFolder(root / "train", len(CLASS_NAMES)).in_memory().tensors
    assert torch.equal(images, torch.from_numpy(scenes.images).permute(0, 3, 1, 2))
    assert torch.equal(masks, torch.from_numpy(scenes.masks))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 60}, "multiple of 16"),
        ({"digits": 17}, "between 2 and 16"),
        ({"base": (0.8, 0.35)}, "base="),
        ({"base": (0.02, 0.5)}, "range of brightness"),
        ({"noise": (0.03, 0.02)}, "noise="),
        ({"val": 0}, "val=0"),
        ({"photo": 2}, "photo=2"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        SceneSettings(**options)
