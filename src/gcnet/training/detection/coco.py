"""Annotations in COCO's format, read once into arrays and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import mask_api_new_cpp
from faster_coco_eval.core import mask as rle
from numpy.typing import NDArray

_LEAST = 0.01  # pixels that a box measures at least: less would vanish in single precision
_FAR = 1e6  # pixels from which on a polygon's coordinate is a mistake; its outline is walked pixel by pixel
_UNUSABLE = (ValueError, TypeError, OverflowError, RuntimeError)


class CocoImage(NamedTuple):
    """An image as its annotations describe it; the size in pixels."""

    id: int
    name: str
    width: int
    height: int


@dataclass(frozen=True)
class CocoAnnotations:
    """The objects of a set of images. Those of image i are ``first[i]`` to ``first[i + 1]``.

    Attributes:
        path: the file they were read from.
        folder: where the images are.
        images: in the order of the file.
        categories: id to name, in the order of the ids, which may have gaps; label l stands for the l-th of them.
        boxes: float64 [A, 4], x, y, width and height as in the file.
        labels: int64 [A], from 1.
        areas: float64 [A], in square pixels, of the masks.
        crowd: bool [A], regions of many objects: not trained on; what is found there is not counted as wrong.
        masks: run lengths as COCO compresses them, or None.
        first: int64 [images + 1].
        invalid: what is wrong with annotations that were left out.
    """

    path: Path
    folder: Path
    images: tuple[CocoImage, ...]
    categories: Mapping[int, str]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masks: tuple[bytes, ...] | None
    first: NDArray[np.int64]
    invalid: tuple[str, ...]

    def of(self, index: int) -> range:
        """Numbers of the annotations of an image."""
        return range(self.first[index], self.first[index + 1])

    def objects(self, index: int) -> list[int]:
        """The same without crowds."""
        return [number for number in self.of(index) if not self.crowd[number]]

    def corners(self, index: int, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Boxes [len(numbers), 4] of an image as x1, y1, x2, y2, cut off at its borders."""
        image = self.images[index]
        top_left, size = np.split(self.boxes[list(numbers)], 2, axis=1)
        return (
            np.concatenate([top_left, top_left + size], axis=1)
            .clip(0, [image.width, image.height] * 2)
            .astype(np.float32)
        )


def read_coco(path: Path, folder: Path, *, masks: bool = True) -> CocoAnnotations:
    """Read a file of annotations: polygons, run lengths compressed or not, crowds, images without objects.

    Args:
        path: JSON file with images, annotations and categories.
        folder: where the images are; their files are not opened.
        masks: keep the masks, in COCO's compressed run lengths.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not of COCO's format, lists an image, a category or a name twice, or names an image outside
            of ``folder``.

    Example:
        >>> path = getfixture("tmp_path") / "instances.json"
        >>> _ = path.write_text(json.dumps({
        ...     "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        ...     "categories": [{"id": 18, "name": "dog"}],
        ...     "annotations": [{"image_id": 7, "category_id": 18, "bbox": [35, 5, 10, 10], "iscrowd": 0}],
        ... }))
        >>> coco = read_coco(path, path.parent, masks=False)
        >>> coco.categories, coco.labels, coco.corners(0, coco.objects(0))
        ({18: 'dog'}, array([1]), array([[35.,  5., 40., 15.]], dtype=float32))
    """
    content = _load(path)
    images = tuple(_image(path, entry) for entry in content["images"])
    categories = dict(sorted(_category(path, entry) for entry in content["categories"]))
    _check_unique(path, "the image id", [image.id for image in images])
    _check_unique(path, "the category id", [entry["id"] for entry in content["categories"]])
    _check_unique(path, "the category name", list(categories.values()))
    place = {image.id: index for index, image in enumerate(images)}
    label = {category: number for number, category in enumerate(categories, 1)}

    found: list[tuple[int, Any, int, float, bool, bytes]] = []
    invalid: list[str] = []
    for number, entry in enumerate(content["annotations"]):
        index = None
        try:
            index, category = place.get(entry["image_id"]), label.get(entry["category_id"])
            if index is None:
                raise ValueError(f"its image_id {entry['image_id']} is none of the images")
            if category is None:
                raise ValueError(f"its category_id {entry['category_id']} is none of the categories")
            found.append((index, *_annotation(entry, images[index], category, masks)))
        except KeyError as error:
            raise ValueError(f"{path}: annotations[{number}] has no {error}") from error
        except _UNUSABLE as error:
            of = f" of {images[index].name}" if index is not None else ""
            invalid.append(f"{path}: annotation {entry.get('id', f'[{number}]')}{of}: {error}")
    found.sort(key=lambda entry: entry[0])
    columns: Sequence[Any] = list(zip(*found, strict=True)) or [()] * 6
    return CocoAnnotations(
        path=path,
        folder=folder,
        images=images,
        categories=categories,
        boxes=np.array(columns[1], np.float64).reshape(-1, 4),
        labels=np.array(columns[2], np.int64),
        areas=np.array(columns[3], np.float64),
        crowd=np.array(columns[4], np.bool_),
        masks=tuple(columns[5]) if masks else None,
        first=np.searchsorted(np.array(columns[0], np.int64), np.arange(len(images) + 1)),
        invalid=tuple(invalid),
    )


def _annotation(
    entry: Mapping[str, Any], image: CocoImage, label: int, masks: bool
) -> tuple[Sequence[float], int, float, bool, bytes]:
    """Box, label, area, crowd and mask; ValueError says why an annotation cannot be used."""
    counts = run_lengths(entry.get("segmentation"), image.width, image.height) if masks else b""
    box = entry["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not _are_finite(box):
        raise ValueError(f"its bbox {box} is not x, y, width, height")
    x, y, width, height = box
    if min(min(x + width, image.width) - max(x, 0), min(y + height, image.height) - max(y, 0)) < _LEAST:
        size = f"{image.width}x{image.height}"
        raise ValueError(f"its bbox {box} (x, y, width, height) has no area inside the image of {size}")
    area = entry.get("area")
    if area is None:
        area = rle.area({"size": [image.height, image.width], "counts": counts}) if masks else width * height
    if not float(area) >= 0:
        raise ValueError(f"its area {area} is no number of pixels")
    return box, label, float(area), bool(int(entry.get("iscrowd") or 0)), counts


def run_lengths(segmentation: Any, width: int, height: int) -> bytes:
    """COCO's compressed run lengths of polygons, or of run lengths compressed or not.

    Raises:
        ValueError: none of these, or of another size than the image.

    Example:
        >>> square = {"size": [4, 4], "counts": [5, 2, 2, 2, 5]}
        >>> run_lengths([[1, 1, 3, 1, 3, 3, 1, 3]], 4, 4) == run_lengths(square, 4, 4)
        True
    """
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(
                f"its mask has the size {segmentation['size']}, its image {[height, width]} (height, width)"
            )
        counts = segmentation["counts"]
        lengths = counts if isinstance(counts, list) else _uncompressed(segmentation)
        if not all(isinstance(length, int) and length >= 0 for length in lengths):
            raise ValueError("the run lengths of its mask are not whole numbers of pixels")
        if sum(lengths) != width * height:
            raise ValueError(f"the run lengths of its mask cover {sum(lengths)} of {width * height} pixels")
        if isinstance(counts, list):
            counts = rle.frPyObjects(segmentation, height, width)["counts"]
        return counts.encode() if isinstance(counts, str) else counts
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("it has no segmentation; masks=False trains on boxes alone")
    for polygon in segmentation:
        if not isinstance(polygon, list) or not _are_finite(polygon):
            raise ValueError("a polygon is not a list of numbers x, y, x, y, ...")
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon needs three or more points x, y, got {len(polygon)} numbers")
        if max(polygon) > _FAR or min(polygon) < -_FAR:
            raise ValueError(f"a polygon reaches from {min(polygon):g} to {max(polygon):g} pixels")
    return rle.merge(rle.frPyObjects(segmentation, height, width))["counts"]


def _uncompressed(segmentation: Mapping[str, Any]) -> list[int]:
    try:
        return mask_api_new_cpp.toUncompressedRLE([segmentation])[0]["counts"]
    except _UNUSABLE as error:
        raise ValueError(f"the run lengths of its mask cannot be decoded ({error})") from error


def decode_masks(masks: Iterable[bytes], width: int, height: int) -> NDArray[np.uint8]:
    """Masks [N, height, width] of 0 and 1 from compressed run lengths.

    Example:
        >>> decode_masks([run_lengths([[1, 1, 3, 1, 3, 3, 1, 3]], 4, 4)], 4, 4).sum(axis=(1, 2))
        array([4], dtype=uint64)
    """
    encoded = [{"size": [height, width], "counts": counts} for counts in masks]
    if not encoded:
        return np.zeros((0, height, width), np.uint8)
    return np.ascontiguousarray(rle.decode(encoded).transpose(2, 0, 1))


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of annotations")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error})") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path}: has no list {key!r}; COCO's format has images, annotations and categories")
        for number, entry in enumerate(content[key]):
            if not isinstance(entry, dict):
                raise ValueError(f"{path}: {key}[{number}] is {entry!r}, not an object with names and values")
    return content


def _image(path: Path, entry: Mapping[str, Any]) -> CocoImage:
    try:
        number, name = _integer(path, entry, "id"), entry["file_name"]
        width, height = _integer(path, entry, "width"), _integer(path, entry, "height")
    except KeyError as error:
        raise ValueError(f"{path}: image {entry.get('id', entry)} has no {error}") from error
    if not isinstance(name, str) or not name:
        raise ValueError(f"{path}: file_name {name!r} of image {number} is no name of a file")
    if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
        raise ValueError(
            f"{path}: file_name {name!r} of image {number} leaves the folder of images; name it from there"
        )
    if min(width, height) < 1:
        raise ValueError(f"{path}: {name} cannot be {width} pixels wide and {height} high")
    return CocoImage(number, name, width, height)


def _category(path: Path, entry: Mapping[str, Any]) -> tuple[int, str]:
    try:
        return _integer(path, entry, "id"), str(entry["name"])
    except KeyError as error:
        raise ValueError(f"{path}: category {entry.get('id', entry)} has no {error}") from error


def _integer(path: Path, entry: Mapping[str, Any], name: str) -> int:
    if type(entry[name]) is not int:
        raise ValueError(f"{path}: {name} {entry[name]!r} must be a whole number")
    return entry[name]


def _are_finite(values: Sequence[Any]) -> bool:
    try:
        return math.isfinite(sum(values))
    except TypeError:
        return False


def _check_unique(path: Path, what: str, values: Sequence[Any]) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{path}: {what} {value!r} is there twice")
        seen.add(value)
