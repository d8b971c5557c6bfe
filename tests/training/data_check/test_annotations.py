"""Boxes and masks of single annotations, sound and otherwise."""

import numpy as np
import pytest
from faster_coco_eval.core import mask as rle

from gcnet.training.data_check.annotations import annotation_findings

SQUARE = [[2, 3, 6, 3, 6, 8, 2, 8]]
BOX = [2, 3, 4, 5]


def run_lengths(top, left, bottom, right, size=(20, 30)):
    mask = np.zeros(size, np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    encoded = rle.encode(mask)
    return {"size": list(size), "counts": encoded["counts"].decode()}


def findings(**entry):
    return [(finding.error, finding.kind) for finding in annotation_findings(entry, 30, 20)]


@pytest.mark.parametrize(
    "segmentation",
    [SQUARE, run_lengths(3, 2, 8, 6), {"size": [20, 30], "counts": [43, 5, 15, 5, 15, 5, 15, 5, 492]}],
    ids=["polygon", "compressed", "counts"],
)
def test_sound_annotations(segmentation):
    assert findings(bbox=BOX, segmentation=segmentation) == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (None, (True, "unusable box")),
        ([1, 2, 3], (True, "unusable box")),
        ([1, 2, 3, float("nan")], (True, "unusable box")),
        (["1", 2, 3, 4], (True, "unusable box")),
        ([2, 3, 0, 5], (True, "box of zero size")),
        ([2, 3, 4, -5], (True, "box of zero size")),
        ([30, 3, 4, 5], (True, "box outside the image")),
        ([-4, 3, 4, 5], (True, "box outside the image")),
        ([26, 3, 7, 5], (False, "box beyond the image")),
        ([26, 3, 4.9, 5], None),
    ],
)
def test_boxes(box, expected):
    found = findings(bbox=box, segmentation=[[26, 3, 30, 3, 30, 8, 26, 8]])
    assert ([found[0]] if expected else found) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        (None, (False, "no mask")),
        ([], (False, "no mask")),
        ([[]], (True, "unusable mask")),
        ([[1, 2, 3, 4]], (True, "unusable mask")),
        ([[1, 2, 3, 4, 5, 6, 7]], (True, "unusable mask")),
        ({"size": [30, 20], "counts": [600]}, (True, "unusable mask")),
        ({"size": [20, 30], "counts": [599]}, (True, "unusable mask")),
        ({"size": [20, 30], "counts": "zzzz"}, (True, "unusable mask")),
        ({"counts": "zzzz"}, (True, "unusable mask")),
        ("polygon", (True, "unusable mask")),
        ({"size": [20, 30], "counts": [600]}, (True, "empty mask")),
        (run_lengths(10, 10, 12, 12), (True, "mask outside its box")),
        (run_lengths(3, 2, 12, 6), (False, "mask beyond its box")),
    ],
)
def test_masks(segmentation, expected):
    assert findings(bbox=BOX, segmentation=segmentation) == [expected]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[None] * 6], "a polygon is not a list of numbers x, y, x, y, ..."),
        ([1, 2, 3, 4, 5, 6], "a polygon is not a list of numbers x, y, x, y, ..."),
        ({"size": [20, 30]}, "its segmentation is neither polygons nor run lengths"),
        ({"size": [20, 30], "counts": [-1, 601]}, "the run lengths of its mask are not whole numbers of pixels"),
    ],
)
def test_masks_of_no_known_form(segmentation, message):
    (finding,) = annotation_findings({"bbox": BOX, "segmentation": segmentation}, 30, 20)
    assert finding == (True, "unusable mask", message)


def test_area_has_to_be_a_number():
    assert findings(bbox=BOX, segmentation=SQUARE, area="20") == [(True, "unusable area")]
    assert findings(bbox=BOX, segmentation=SQUARE, area=None) == []
