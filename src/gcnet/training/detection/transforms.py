"""Augmentation of images with boxes and masks, batches of them, and groups of like shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from gcnet.training.detection.coco import CocoImage


@dataclass(frozen=True)
class TrainTransform:
    """Mirrors an image together with its boxes and masks. The detector itself resizes and normalises.

    Args:
        mirror: probability.

    Example:
        >>> import torch
        >>> target = {"boxes": torch.tensor([[0.0, 0.0, 2.0, 4.0]]), "labels": torch.tensor([1])}
        >>> TrainTransform(mirror=1)(torch.zeros(3, 4, 10, dtype=torch.uint8), target)[1]["boxes"]
        tensor([[ 8.,  0., 10.,  4.]])
    """

    mirror: float

    def __call__(self, image: Tensor, target: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Image [3, H, W] with boxes [N, 4], labels [N] and perhaps masks [N, H, W]; the same, and plain tensors."""
        size: Any = image.shape[-2:]
        marked = {**target, "boxes": tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size)}
        if "masks" in target:
            marked["masks"] = tv_tensors.Mask(target["masks"])
        transform = v2.Compose([v2.RandomHorizontalFlip(self.mirror), v2.ToPureTensor()])
        return transform(tv_tensors.Image(image), marked)


def collate(samples: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    """Images, which differ in size, and their targets, as two lists."""
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


def shape_groups(images: Sequence[CocoImage], batch: int) -> list[int] | None:
    """0 for every upright image and 1 for every wide one; None if either kind does not fill a batch.

    Example:
        >>> upright, wide = CocoImage(1, "a.jpg", 30, 40), CocoImage(2, "b.jpg", 40, 30)
        >>> shape_groups([upright, wide, wide, upright], 2)
        [0, 1, 1, 0]
        >>> shape_groups([upright, wide, wide], 2) is None
        True
    """
    groups = [int(image.width > image.height) for image in images]
    return groups if min(groups.count(0), groups.count(1)) >= batch else None
