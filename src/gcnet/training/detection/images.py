"""Images with their objects, as samples to train on and to score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2.functional import pil_to_tensor

from gcnet.training.detection.coco import CocoAnnotations, CocoImage, decode_masks
from gcnet.training.images import read_image as read_picture
from gcnet.training.images import upright_size
from gcnet.training.loading import BrokenSample

Sample = tuple[Tensor, dict[str, Tensor]]


class TrainingImages(Dataset[Sample]):
    """Images and what is on them, crowds aside.

    Args:
        coco: the annotations; with masks if they were read with masks.
        numbers: which of its images.
        transform: of an image and its target, such as :func:`gcnet.training.detection.transforms.TrainTransform`.

    Items:
        Image [3, H, W] uint8, and boxes [N, 4] float32 as x1, y1, x2, y2 in pixels, labels [N] int64 from 1, and masks
        [N, H, W] uint8 where there are masks.

    Raises:
        BrokenSample: on reading: a file that is no image or has another size than its annotations say.
    """

    def __init__(self, coco: CocoAnnotations, numbers: Sequence[int], transform: Callable[..., Sample]) -> None:
        self.coco = coco
        self.numbers = numbers
        self.transform = transform

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        number = self.numbers[index]
        image, objects = self.coco.images[number], self.coco.objects(number)
        target: dict[str, Any] = {
            "boxes": torch.from_numpy(self.coco.corners(number, objects)),
            "labels": torch.from_numpy(self.coco.labels[objects]),
        }
        if self.coco.masks is not None:
            counts = [self.coco.masks[annotation] for annotation in objects]
            try:
                target["masks"] = torch.from_numpy(decode_masks(counts, image.width, image.height))
            except (ValueError, RuntimeError) as error:
                raise BrokenSample(f"{self.coco.path}: a mask of {image.name} cannot be decoded ({error})") from error
        return self.transform(read_image(self.coco.folder / image.name, image), target)


class ScoredImages(Dataset[tuple[Tensor, int]]):
    """Images as they are, [3, H, W] uint8, each with its number among those of ``coco``."""

    def __init__(self, coco: CocoAnnotations) -> None:
        self.coco = coco

    def __len__(self) -> int:
        return len(self.coco.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.coco.images[index]
        return read_image(self.coco.folder / image.name, image), index


def read_image(path: Path, expected: CocoImage | None = None) -> Tensor:
    """An image file, upright, as [3, H, W] uint8.

    Args:
        path: of any kind that PIL reads.
        expected: what the annotations say about it.

    Raises:
        BrokenSample: it cannot be read, or its size is another one.
    """
    image = read_picture(path)
    if expected and image.size != (expected.width, expected.height):
        raise BrokenSample(_other_size(path, image.size, expected))
    return pil_to_tensor(image)


def size_problem(path: Path, expected: CocoImage) -> str | None:
    """What the header of an image file says against its annotations, if anything."""
    try:
        size = upright_size(path)
    except BrokenSample as error:
        return str(error)
    return None if size == (expected.width, expected.height) else _other_size(path, size, expected)


def shape_problem(path: Path, size: Sequence[int], max_size: int) -> str | None:
    """What the shape of an image has against being scaled to ``max_size``: its shorter side would be no pixel."""
    if max(size) < min(size) * max_size:
        return None
    return f"{path}: {max(size)} pixels by {min(size)} is too thin to be scaled to max_size={max_size}; remove it"


def _other_size(path: Path, size: tuple[int, ...], expected: CocoImage) -> str:
    return (
        f"{path}: is {size[0]} pixels wide and {size[1]} high when upright, but its annotations are for "
        f"{expected.width} and {expected.height}"
    )
