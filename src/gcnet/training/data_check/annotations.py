"""One annotation in COCO's format against its image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval.core import mask as rle

from gcnet.training.detection.coco import run_lengths

SLACK = 2  # pixels by which a mask may leave its box: polygons have fractions of pixels


class Finding(NamedTuple):
    """What is wrong with an annotation, and whether training would stop at it."""

    error: bool
    kind: str
    message: str


def annotation_findings(entry: Mapping[str, Any], width: int, height: int) -> Iterator[Finding]:
    """What is wrong with the box and the mask of an annotation.

    Args:
        entry: the annotation.
        width: of its image.
        height: of its image.

    Example:
        >>> [finding.message for finding in annotation_findings({"bbox": [0, 0, 5, 0]}, 8, 8)]
        ['bbox [0, 0, 5, 0] has no area', 'has no mask; boxes alone can be trained']
    """
    box = entry.get("bbox")
    area = entry.get("area")
    if not isinstance(area, int | float | None):
        yield Finding(True, "unusable area", f"area {area!r} is no number")
    of_box = _box_finding(box, width, height)
    if of_box:
        yield of_box
    segmentation = entry.get("segmentation")
    if not segmentation:
        yield Finding(False, "no mask", "has no mask; boxes alone can be trained")
        return
    try:
        mask = {"size": [height, width], "counts": run_lengths(segmentation, width, height)}
        empty = not rle.decode(mask).any()
    except ValueError as error:
        yield Finding(True, "unusable mask", str(error))
        return
    except (RuntimeError, TypeError, KeyError, IndexError):
        yield Finding(True, "unusable mask", "its segmentation is neither polygons nor run lengths")
        return
    if empty:
        yield Finding(True, "empty mask", "its mask has no pixel")
    elif not (of_box and of_box.error):
        yield from _mask_findings(_corners(rle.toBbox(mask)), _corners(box))


def _box_finding(box: Any, width: int, height: int) -> Finding | None:
    numbers = isinstance(box, list) and all(isinstance(value, int | float) and math.isfinite(value) for value in box)
    if not numbers or len(box) != 4:
        return Finding(True, "unusable box", f"bbox {box} is not x, y, width, height")
    if min(box[2:]) <= 0:
        return Finding(True, "box of zero size", f"bbox {box} has no area")
    left, top, right, bottom = _corners(box)
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return Finding(True, "box outside the image", f"bbox {box}, image {width}x{height}")
    beyond = max(-left, -top, right - width, bottom - height)
    if beyond > 1:
        return Finding(False, "box beyond the image", f"bbox {box}, image {width}x{height}: {beyond:g} pixels")
    return None


def _mask_findings(mask: Any, box: Any) -> Iterator[Finding]:
    """How the corners of a mask lie to those of its box."""
    if (mask[:2] >= box[2:]).any() or (mask[2:] <= box[:2]).any():
        yield Finding(True, "mask outside its box", f"mask from {mask[:2]} to {mask[2:]}, box {box[:2]} to {box[2:]}")
    elif (beyond := max(*(box[:2] - mask[:2]), *(mask[2:] - box[2:]))) > SLACK:
        yield Finding(False, "mask beyond its box", f"by {beyond:.0f} pixels")


def _corners(box: Any) -> Any:
    """Left, top, right and bottom."""
    return np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]], float)
