"""How networks see pictures: functions from a file, or a picture in memory, to a view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import normalize, pil_to_tensor

from gcnet.study.subject import Sight, Source, View
from gcnet.training.detection.images import shape_problem
from gcnet.training.images import MEAN, STD, read_image, to_rgb
from gcnet.training.loading import BrokenSample
from gcnet.training.segmentation.transforms import resize_image
from gcnet.training.video.clips import read_views
from gcnet.training.video.config import VideoConfig
from gcnet.training.video.decoding import scan


def cropped(transform: Callable[[Image.Image], Tensor], mean: Sequence[float], std: Sequence[float]) -> Sight:
    """Pictures cut to one size.

    Args:
        transform: picture to [3, size, size], normalised.
        mean: of that normalisation, per colour.
        std: likewise.

    Example:
        >>> from torchvision.transforms import v2
        >>> steps = [v2.CenterCrop(4), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        >>> see = cropped(v2.Compose([*steps, v2.Normalize([0.5] * 3, [0.5] * 3)]), [0.5] * 3, [0.5] * 3)
        >>> view = see(Image.new("RGB", (6, 5), (255, 0, 0)))
        >>> view.input[:, 0, 0].tolist(), view.picture[:, 0, 0].tolist()
        ([1.0, -1.0, -1.0], [255, 0, 0])
    """

    def see(source: Source) -> View:
        inputs = transform(_picture(source))
        return View(_name(source), inputs, denormalised(inputs, mean, std))

    return see


def whole(shorter: int | None, mean: Sequence[float], std: Sequence[float]) -> Sight:
    """Whole pictures, scaled to a shorter side of ``shorter`` pixels unless that is None."""

    def see(source: Source) -> View:
        picture = resize_image(pil_to_tensor(_picture(source)), shorter)
        inputs = normalize(picture.float() / 255, list(mean), list(std))
        return View(_name(source), inputs, picture)

    return see


def by_detector(net: Any) -> Sight:
    """Pictures as a detector of torchvision scales and pads them; what is padded is black."""
    scale = net.transform

    def see(source: Source) -> View:
        image = pil_to_tensor(_picture(source))
        if problem := shape_problem(Path(_name(source)), image.shape[-2:], scale.max_size):
            raise BrokenSample(problem)
        device = next(net.parameters()).device
        with torch.no_grad():
            images, _ = scale([image.to(device).float() / 255])
        inputs = images.tensors[0].cpu()
        height, width = images.image_sizes[0]
        picture = torch.zeros(inputs.shape, dtype=torch.uint8)
        picture[:, :height, :width] = denormalised(inputs, scale.image_mean, scale.image_std)[:, :height, :width]
        return View(_name(source), inputs, picture)

    return see


def clip(config: VideoConfig) -> Sight:
    """The middle one of the views that a video is judged by."""

    def see(source: Source) -> View:
        if not isinstance(source, Path):
            raise BrokenSample("a single picture: this network sees videos; give a video file")
        views = read_views(scan(source), config)
        picture = views[len(views) // 2]
        shape = (3, 1, 1, 1)
        inputs = (picture.float() / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)
        return View(source.name, inputs, picture)

    return see


def denormalised(inputs: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What a network takes, [3, ...], as uint8 to look at.

    Example:
        >>> denormalised(torch.zeros(3, 1, 1), (0.5, 0.25, 1.0), (1, 1, 1)).flatten().tolist()
        [128, 64, 255]
    """
    shape = (3, *(1,) * (inputs.dim() - 1))
    values = inputs * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
    return (values * 255).round().clamp(0, 255).to(torch.uint8)


def _picture(source: Source) -> Image.Image:
    return to_rgb(source) if isinstance(source, Image.Image) else read_image(source)


def _name(source: Source) -> str:
    return source.name if isinstance(source, Path) else "picture"
