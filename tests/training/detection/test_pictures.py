"""Pictures show boxes, masks and names where they belong."""

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from PIL import Image

from gcnet.training.detection.coco import run_lengths
from gcnet.training.detection.detections import Detections
from gcnet.training.detection.pictures import draw, side_by_side

GREY = torch.full((3, 480, 600), 100, dtype=torch.uint8)


def found(score=0.9, masks=True):
    polygon = [[100, 100, 300, 100, 300, 300, 100, 300]]
    return Detections(
        np.array([[100, 100, 300, 300]], np.float32),
        np.array([1]),
        np.array([score], np.float32),
        [run_lengths(polygon, 600, 480)] if masks else None,
    )


def changed(picture):
    return (np.asarray(picture).astype(int) != 100).any(-1)


def test_a_mask_is_tinted_inside_its_outline():
    inside = changed(draw(GREY, found(), ["dog"]))
    assert inside[110:290, 110:290].all()
    assert not inside[320:].any()
    assert not inside[:, 320:].any()


def test_a_box_is_an_outline_with_its_name_above():
    inside = changed(draw(GREY, found(masks=False), ["dog"]))
    assert not inside[110:290, 110:290].any()
    assert inside[100, 100:300].all()
    assert inside[85:98, 100:130].any()


def test_a_name_stays_in_the_picture():
    corner = found()._replace(boxes=np.array([[560, 0, 600, 60]], np.float32), masks=None)
    inside = changed(draw(GREY, corner, ["a rather long name"]))
    assert inside[5:12, 420:600].any()


def test_what_is_unsure_is_not_drawn():
    assert not changed(draw(GREY, found(score=0.3), ["dog"])).any()
    assert changed(draw(GREY, found(score=0.3), ["dog"], least_score=0.2)).any()


def test_small_images_are_enlarged():
    assert draw(GREY[:, :48, :60], found()._replace(masks=None), ["dog"]).size == (600, 480)


def test_rows_of_different_shapes_share_columns():
    wide, upright = Image.new("RGB", (200, 100)), Image.new("RGB", (100, 200))
    sheet = side_by_side([(wide, wide), (upright, upright)], ("truth", "found"))
    assert sheet.width == 2 * 640 + 12
    assert sheet.height == 40 + 2 * 320 + 12
