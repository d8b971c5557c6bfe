"""Augmentation of images with masks, batches of them, and what the network is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from gcnet.training.segmentation.config import SegmentationConfig

Sample = tuple[Tensor, Tensor]

CROPS_DRAWN = 10  # at most, for one in which no class has too much


@dataclass(frozen=True)
class TrainTransform:
    """Scales, crops, mirrors and colours an image as configured, and its mask along with it.

    Where the image is smaller than the crop, it is padded with the mean colour, and the mask with the ignored label.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from gcnet.recipes.scenes_segmentation import scenes_segmentation
        >>> config = replace(scenes_segmentation(Path("scenes")), crop_size=(8, 16), scale=(0.5, 2.0))
        >>> image, mask = TrainTransform(config)(torch.zeros(3, 9, 10, dtype=torch.uint8), torch.ones(9, 10))
        >>> image.shape, mask.shape
        (torch.Size([3, 8, 16]), torch.Size([8, 16]))
    """

    config: SegmentationConfig

    def __call__(self, image: Tensor, mask: Tensor) -> Sample:
        """Image [3, H, W] uint8 and mask [H, W] of any size to the size of the crop."""
        config = self.config
        resize = [v2.Resize(config.resize)] if config.resize else []
        image, mask = v2.Compose([*resize, RandomScale(config.scale)])(tv_tensors.Image(image), tv_tensors.Mask(mask))
        image, mask = self._crop(image, mask)
        colours = [v2.RandomPhotometricDistort()] if config.colour_jitter else []
        return v2.Compose([v2.RandomHorizontalFlip(config.mirror), *colours, v2.ToPureTensor()])(image, mask)

    def _crop(self, image: Tensor, mask: Tensor) -> Sample:
        """A random crop; up to ten are drawn while one class has too much of it."""
        config = self.config
        mean: Any = [round(255 * value) for value in config.mean]
        fill: Any = {tv_tensors.Image: mean, tv_tensors.Mask: config.ignore_index}
        crop = v2.RandomCrop(config.crop_size, pad_if_needed=True, fill=fill)
        for _ in range(CROPS_DRAWN):
            cropped = crop(image, mask)
            if config.max_class_share == 1 or self._largest_share(cropped[1]) <= config.max_class_share:
                break
        return cropped

    def _largest_share(self, mask: Tensor) -> float:
        """Of a class in the labelled pixels of a mask; 1 if there are none."""
        counts = mask[mask != self.config.ignore_index].flatten().long().bincount()
        return (counts.max() / counts.sum()).item() if len(counts) else 1.0


class RandomScale(v2.Transform):
    """Scales by a factor that is drawn uniformly.

    Args:
        scale: its range.
    """

    def __init__(self, scale: tuple[float, float]) -> None:
        super().__init__()
        self.scale = scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size."""
        low, high = self.scale
        factor = low + (high - low) * torch.rand(()).item()
        return {"size": [max(1, round(extent * factor)) for extent in functional.get_size(flat_inputs[0])]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Image bilinear, mask by the nearest pixel."""
        return functional.resize(inpt, params["size"])


@dataclass(frozen=True)
class ValTransform:
    """Scales the image as configured; the mask stays as it is, for predictions are scored at its size."""

    config: SegmentationConfig

    def __call__(self, image: Tensor, mask: Tensor) -> Sample:
        """Image [3, H, W] uint8 and mask [H, W]."""
        return resize_image(image, self.config.resize), mask


def resize_image(image: Tensor, shorter: int | None) -> Tensor:
    """An image [3, H, W] whose shorter side is ``shorter`` pixels; None leaves it alone."""
    return image if shorter is None else functional.resize(image, [shorter])


def by_size(samples: Sequence[Sample]) -> list[Sample]:
    """Batches out of samples, one for each pair of sizes of image and mask: nothing is padded.

    Example:
        >>> one, other = (torch.zeros(3, 4, 4), torch.zeros(4, 4)), (torch.zeros(3, 4, 6), torch.zeros(4, 6))
        >>> [tuple(images.shape) for images, masks in by_size([one, other, one])]
        [(2, 3, 4, 4), (1, 3, 4, 6)]
    """
    groups: dict[Any, list[Sample]] = {}
    for image, mask in samples:
        groups.setdefault((image.shape, mask.shape), []).append((image, mask))
    batches = (zip(*group, strict=True) for group in groups.values())
    return [(torch.stack(images), torch.stack(masks)) for images, masks in batches]


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels of images [N, 3, H, W] uint8 as floats of the mean 0 and the spread 1.

    Example:
        >>> normalise(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), (0.3, 0.3, 0.3), (0.25, 0.25, 0.25)).flatten()
        tensor([-1.2000, -1.2000, -1.2000])
    """
    centre, spread = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (mean, std))
    return (images.float() / 255 - centre) / spread
