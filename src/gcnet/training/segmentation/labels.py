"""What the values in mask files stand for: class indices, or the published codes of a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

#: Cityscapes: label id -> name, of the classes that are trained and scored, in the order of their train ids
#: (https://github.com/mcordts/cityscapesScripts, labels.py). Every other id is ignored.
CITYSCAPES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
CITYSCAPES_LAST = 33

LABELS = ("indices", "zero_ignored", "cityscapes_ids")


def label_table(labels: str, classes: int, ignore_index: int) -> Mapping[int, int]:
    """Value in a mask file -> class index, or ``ignore_index``; other values are errors.

    Args:
        labels: ``"indices"`` (values are class indices), ``"zero_ignored"`` (as in ADE20K: 0 is ignored, 1 is the first
            class) or ``"cityscapes_ids"``.
        classes: number of classes.
        ignore_index: value that is ignored in any case.

    Example:
        >>> label_table("zero_ignored", 2, 255)
        {0: 255, 1: 0, 2: 1, 255: 255}
    """
    if labels == "cityscapes_ids":
        indices = {value: index for index, value in enumerate(CITYSCAPES)}
        table = {value: indices.get(value, ignore_index) for value in range(CITYSCAPES_LAST + 1)}
    elif labels == "zero_ignored":
        table = {0: ignore_index, **{index + 1: index for index in range(classes)}}
    else:
        table = {index: index for index in range(classes)}
    return {**table, ignore_index: ignore_index}


def relabel(mask: NDArray[np.integer], table: Mapping[int, int]) -> NDArray[np.integer]:
    """Every value of a mask replaced as ``table`` says; uint8 where that holds all of its values, else int32.

    Raises:
        ValueError: a value that the table does not have.

    Example:
        >>> relabel(np.array([[0, 1], [2, 255]]), label_table("zero_ignored", 2, 255))
        array([[255,   0],
               [  1, 255]], dtype=uint8)
    """
    largest = max(table)
    lookup = np.full(largest + 1, -1)
    lookup[list(table)] = list(table.values())
    unknown = (mask < 0) | (mask > largest) | (lookup[mask.clip(0, largest)] < 0)
    if unknown.any():
        raise ValueError(f"holds label {mask[unknown].min()}, but labels are {_ranges(sorted(table))}")
    return lookup.astype(np.uint8 if max(table.values()) <= 255 else np.int32)[mask]


def _ranges(values: list[int]) -> str:
    """Sorted values in words.

    Example:
        >>> _ranges([0, 1, 2, 255])
        '0 to 2 and 255'
    """
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return " and ".join(f"{a} to {b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True))
