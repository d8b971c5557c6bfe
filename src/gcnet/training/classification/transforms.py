"""From a picture to what the network sees: random in training, fixed in validation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.images import MEAN, STD


def train_transform(config: ClassificationConfig) -> v2.Compose:
    """Rotation, random crop, mirror, jitters and erasing as configured, normalised: picture to [3, size, size].

    Rotation, crop of 8 to 100 % of the area at ratios 3/4 to 4/3, mirror and a pixel jitter of 20 together are the
    augmentation of https://github.com/hujie-frank/SENet.

    Example:
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from gcnet.recipes.classification import classification
        >>> config = replace(classification(Path("photos")), image_size=32, rotation=10.0, pixel_jitter=20.0)
        >>> train_transform(config)(Image.new("RGB", (50, 40))).shape
        torch.Size([3, 32, 32])
    """
    scaling = InterpolationMode(config.interpolation)
    steps: list[Any] = []
    if config.rotation:
        steps.append(v2.RandomRotation(config.rotation, InterpolationMode.BILINEAR, fill=_fill()))
    steps.append(
        v2.RandomResizedCrop(config.image_size, scale=config.crop_scale, ratio=config.crop_ratio, interpolation=scaling)
    )
    if config.mirror:
        steps.append(v2.RandomHorizontalFlip(config.mirror))
    if config.colour_jitter:
        steps.append(v2.ColorJitter(config.colour_jitter, config.colour_jitter, config.colour_jitter))
    steps += [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    if config.pixel_jitter:
        steps.append(PixelJitter(config.pixel_jitter / 255))
    steps.append(v2.Normalize(MEAN, STD))
    if config.erasing:
        steps.append(v2.RandomErasing(config.erasing))
    return v2.Compose(steps)


def val_transform(config: ClassificationConfig) -> v2.Compose:
    """The centre of the scaled image, normalised: picture to [3, size, size]."""
    scaling = InterpolationMode(config.interpolation)
    return v2.Compose(
        [
            v2.Resize(config.resize, interpolation=scaling),
            v2.CenterCrop(config.crop),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


class PixelJitter(nn.Module):
    """Adds to every value a random number of its own, uniform between ``-amount`` and ``amount``.

    So its author describes it in https://github.com/hujie-frank/SENet/issues/38; values stay between 0 and 1.

    Args:
        amount: for values from 0 to 1.

    Example:
        >>> jittered = PixelJitter(0.1)(torch.full((3, 4, 4), 0.5))
        >>> bool((jittered - 0.5).abs().max() <= 0.1), jittered.unique().numel() > 40
        (True, True)
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, image: Tensor) -> Tensor:
        """An image of any shape."""
        return (image + torch.empty_like(image).uniform_(-self.amount, self.amount)).clamp(0, 1)


def _fill() -> list[int]:
    """The mean colour, which becomes zero, for the corners that a rotation leaves empty."""
    return [round(255 * value) for value in MEAN]
