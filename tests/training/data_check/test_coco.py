"""Data in COCO's format: one thing broken at a time, and found."""

import json

import pytest
from PIL import Image

pytest.importorskip("sklearn")

from gcnet.training.data_check.check import check_data
from gcnet.training.scenes.detection import DetectionScenes
from gcnet.training.scenes.make import make_scenes
from tests.training.data_check.found import errors, warnings

TRAIN = "annotations/instances_train.json"


@pytest.fixture
def root(tmp_path):
    return make_scenes("detection", tmp_path / "scenes", DetectionScenes(train=3, val=2, size=64, digits=4))


def change(root, edit, name=TRAIN):
    content = json.loads((root / name).read_text())
    edit(content)
    (root / name).write_text(json.dumps(content))


def test_sound_data(root):
    report = check_data(root)
    assert (report.task, report.errors, report.warnings) == ("detection", [], [])
    assert report.counts["images in instances_train"] == 3
    assert report.counts["objects in instances_val"] == 8


def test_images_missing_broken_or_of_another_size(root):
    (root / "train" / "00000.png").unlink()
    path = root / "train" / "00001.png"
    path.write_bytes(path.read_bytes()[:-500])
    Image.new("RGB", (64, 48)).save(root / "train" / "00002.png")
    assert errors(check_data(root)) == [
        ("missing image", "train/00000.png"),
        ("unreadable image", "train/00001.png"),
        ("size of image", "train/00002.png"),
    ]


def test_ids_given_twice(root):
    def twice(content):
        content["images"].append({**content["images"][0], "file_name": "00002.png"})
        content["annotations"][1]["id"] = 1
        content["categories"].append({"id": 2, "name": "brighter digit"})

    change(root, twice)
    found = errors(check_data(root))
    kinds = ["image id", "file name", "category id", "category name", "annotation id"]
    assert found == [(f"duplicate {kind}", TRAIN) for kind in kinds]


def test_references_to_nothing(root):
    def lose(content):
        content["annotations"][0]["category_id"] = 7
        content["annotations"][1]["image_id"] = 99

    change(root, lose)
    assert errors(check_data(root)) == [
        ("undefined category", f"{TRAIN}, annotation 1"),
        ("undefined image", f"{TRAIN}, annotation 2"),
    ]


def test_annotations_name_their_image(root):
    change(root, lambda content: content["annotations"][4].update(bbox=[70, 0, 3, 3]))
    assert errors(check_data(root)) == [("box outside the image", f"{TRAIN}, annotation 5 of 00001.png")]


def test_category_gaps(root):
    for name in (TRAIN, "annotations/instances_val.json"):
        change(root, lambda content: content["categories"].append({"id": 5, "name": "letter"}), name)
    report = check_data(root)
    assert report.errors == []
    assert warnings(report) == [("unused category", "instances_train"), ("unused category", "instances_val")]


def test_categories_that_differ(root):
    change(root, lambda content: content["categories"][0].update(name="dark digit"), "annotations/instances_val.json")
    assert errors(check_data(root)) == [("categories differ", "instances_val")] * 2


def test_unused_and_shared_files(root):
    (root / "val" / "00000.png").write_bytes((root / "train" / "00002.png").read_bytes())
    Image.new("RGB", (8, 8)).save(root / "train" / "extra.png")
    report = check_data(root)
    assert report.errors == []
    assert warnings(report) == [("same file in two splits", "val/00000.png"), ("unused file", "train/extra.png")]
    assert "train/00002.png" in report.warnings[0].message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "has no list 'images'"),
        ('{"images": [], "annotations": []}', "has no list 'categories'"),
        ('{"images": [3], "annotations": [], "categories": []}', "images holds something else"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "images[0] has no file_name, width, height"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "categories[0] has no name"),
    ],
)
def test_other_json(root, text, message):
    (root / TRAIN).write_text(text)
    assert any(message in problem.message for problem in check_data(root).errors)


def test_folders_named_by_year(root):
    """As COCO 2017 itself: annotations/instances_train2017.json and train2017/."""
    for split in ("train", "val"):
        (root / split).rename(root / f"{split}2017")
        (root / "annotations" / f"instances_{split}.json").rename(root / f"annotations/instances_{split}2017.json")
    report = check_data(root)
    assert (report.errors, report.warnings) == ([], [])


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        ("images", "id", [1], r"images[0] has id [1], which is no whole number"),
        ("images", "file_name", 5, "images[0] has file_name 5, which is no text"),
        ("images", "width", "64", "images[0] has width '64', which is no whole number"),
        ("categories", "id", None, "categories[0] has id None, which is no whole number"),
        ("annotations", "image_id", {}, "has image_id {}, which is no number"),
        ("annotations", "category_id", [1], "has category_id [1], which is no number"),
    ],
)
def test_fields_of_the_wrong_kind(root, kind, field, value, message):
    change(root, lambda content: content[kind][0].update({field: value}))
    assert message in [problem.message for problem in check_data(root).errors]


@pytest.mark.parametrize("name", ["images", "categories"])
def test_nothing_listed(root, name):
    change(root, lambda content: content[name].clear())
    assert f"lists no {name}" in [problem.message for problem in check_data(root).errors]


def test_annotations_beside_the_images(root):
    for split in ("train", "val"):
        (root / "annotations" / f"instances_{split}.json").rename(root / split / "_annotations.coco.json")
    (root / "annotations").rmdir()
    (root / "val" / "00001.png").unlink()
    report = check_data(root)
    assert (errors(report), report.warnings) == ([("missing image", "val/00001.png")], [])
    assert (report.counts["images in train"], report.counts["images in val"]) == (3, 2)
