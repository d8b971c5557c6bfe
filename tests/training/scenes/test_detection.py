"""Scenes in COCO's format: what is written agrees with the pixels, and with COCO's own evaluation."""

import json

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image

pytest.importorskip("sklearn")

from gcnet.training.scenes.compose import compose
from gcnet.training.scenes.detection import DetectionScenes
from gcnet.training.scenes.make import make_scenes

SETTINGS = DetectionScenes(train=6, val=8, size=64, digits=10, empty=0.4)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_scenes("detection", tmp_path_factory.mktemp("made") / "scenes", SETTINGS)


def test_masks_are_the_visible_pixels(root):
    """The masks of a scene never overlap, and together are every labelled pixel of the scene with its own label."""
    scenes = compose(SETTINGS, "val", empty=SETTINGS.empty)
    coco = COCO(root / "annotations" / "instances_val.json")
    for image, expected in zip(coco.dataset["images"], scenes.masks, strict=True):
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        drawn = np.zeros((64, 64), int)
        for annotation in annotations:
            mask = coco.annToMask(annotation).astype(bool)
            assert not drawn[mask].any()
            drawn[mask] = annotation["category_id"]
        assert np.array_equal(drawn, expected)


def test_boxes_are_tight_and_areas_exact(root):
    coco = COCO(root / "annotations" / "instances_val.json")
    for annotation in coco.dataset["annotations"]:
        rows, columns = np.nonzero(coco.annToMask(annotation))
        x, y = columns.min(), rows.min()
        assert annotation["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        assert annotation["area"] == len(rows) > 0


def test_pictures_are_there_in_the_declared_size(root):
    for split, count in (("train", 6), ("val", 8)):
        content = json.loads((root / "annotations" / f"instances_{split}.json").read_text())
        assert [category["name"] for category in content["categories"]] == ["darker digit", "brighter digit"]
        assert len(content["images"]) == count
        for image in content["images"]:
            with Image.open(root / split / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"])


def test_some_scenes_are_empty(root):
    content = json.loads((root / "annotations" / "instances_val.json").read_text())
    with_digits = {annotation["image_id"] for annotation in content["annotations"]}
    assert 0 < len(with_digits) < len(content["images"])
    scenes = compose(SETTINGS, "val", empty=SETTINGS.empty)
    assert with_digits == set(np.flatnonzero(scenes.masks.any(axis=(1, 2))))


def test_perfect_detections_score_one(root):
    truth = COCO(root / "annotations" / "instances_train.json")
    perfect = [{**annotation, "score": 1.0} for annotation in truth.dataset["annotations"]]
    for kind in ("bbox", "segm"):
        evaluation = COCOeval_faster(truth, truth.loadRes(perfect), iouType=kind, print_function=lambda *_: None)
        evaluation.run()
        assert evaluation.stats[0] == pytest.approx(1)


def test_share_of_empty_scenes_that_makes_no_sense():
    with pytest.raises(ValueError, match=r"empty=1\.5"):
        DetectionScenes(empty=1.5)
