"""Images with masks: one thing broken at a time, and found."""

import shutil

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("sklearn")

from gcnet.training.data_check.check import check_data
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.scenes.make import make_scenes
from tests.training.data_check.found import errors, warnings


@pytest.fixture
def root(tmp_path):
    return make_scenes("segmentation", tmp_path / "scenes", SceneSettings(train=3, val=2))


def test_sound_data(root):
    report = check_data(root)
    assert (report.task, report.errors, report.warnings) == ("segmentation", [], [])


def test_files_without_partner(root):
    (root / "train" / "masks" / "00001.png").unlink()
    (root / "val" / "images" / "00000.png").unlink()
    assert errors(check_data(root)) == [
        ("image without mask", "train/images/00001.png"),
        ("mask without image", "val/masks/00000.png"),
    ]


def test_two_images_of_one_name_share_a_mask(root):
    shutil.copy(root / "train/images/00000.png", root / "train/images/00000.tif")
    shutil.move(root / "train/masks/00001.png", root / "train/masks/00001.PNG")  # found in either case
    assert errors(check_data(root)) == [("same name twice", "train/images/00000.tif")]


def test_broken_files(root):
    for path, length in (("train/images/00000.png", 2000), ("train/masks/00001.png", 60)):
        (root / path).write_bytes((root / path).read_bytes()[:length])
    Image.new("RGB", (64, 64)).save(root / "train/masks/00002.png")
    assert errors(check_data(root)) == [
        ("unreadable image", "train/images/00000.png"),
        ("unreadable mask", "train/masks/00001.png"),
        ("unreadable mask", "train/masks/00002.png"),
    ]


def test_sizes_and_labels(root):
    Image.new("L", (32, 64)).save(root / "train/masks/00000.png")
    Image.fromarray(np.full((64, 64), 3, np.uint8)).save(root / "train/masks/00001.png")
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(root / "train/masks/00002.png")
    assert errors(check_data(root)) == [
        ("size of mask and image", "train/masks/00000.png"),
        ("label out of range", "train/masks/00001.png"),
    ]


def test_class_names(root):
    (root / "classes.txt").write_text("background\ndarker\nbrighter\nletter\n")
    assert warnings(check_data(root)) == [("unused class", "letter")]
    (root / "classes.txt").unlink()
    (root / "meta.json").write_text("{}")
    report = check_data(root)
    assert errors(report) == [("class names", str(root))]
    assert warnings(report) == [("unknown classes", str(root))]


def test_same_bytes(root):
    shutil.copy(root / "train/images/00000.png", root / "val/images/00001.png")
    assert warnings(check_data(root)) == [("same file in two splits", "val/images/00001.png")]


@pytest.mark.parametrize(
    ("images", "masks", "splits", "image_end", "mask_end"),
    [
        ("images/{}", "annotations/{}", ("training", "validation"), "", ""),
        ("leftImg8bit/{}/jena", "gtFine/{}/jena", ("train", "val"), "_leftImg8bit", "_gtFine_labelIds"),
    ],
    ids=["ADE20K", "Cityscapes"],
)
def test_published_layouts(root, images, masks, splits, image_end, mask_end, tmp_path):
    other = tmp_path / "other"
    for ours, theirs in zip(("train", "val"), splits, strict=True):
        for kind, folder, end in (("images", images, image_end), ("masks", masks, mask_end)):
            for path in (root / ours / kind).iterdir():
                target = other / folder.format(theirs) / f"{path.stem}{end}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
    report = check_data(other)
    assert (report.errors, report.counts[f"{splits[0]} images"]) == ([], 3)


def test_one_folder_without_splits(root):
    report = check_data(root / "train")
    assert (report.errors, report.counts["images"]) == ([], 3)
