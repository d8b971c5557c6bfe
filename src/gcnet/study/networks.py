"""Networks by name, or out of a file, as subjects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

import gcnet
from gcnet.study.subject import Subject, View
from gcnet.training.backbones import build_backbone
from gcnet.training.images import MEAN, STD, read_image


def open_network(name: str, *, weights: str | None = None, size: int | None = None) -> Subject:
    """A network by the name of its factory, or out of a file that :func:`gcnet.load` reads.

    Raises:
        ValueError: no such network or file.
    """
    net = gcnet.load(name) if Path(name).suffix else build_backbone(name, 1000, weights)
    net.eval()
    side = size or 224
    transform = v2.Compose(
        [
            v2.Resize(side),
            v2.CenterCrop(side),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )

    def see(source: Path | Image.Image) -> View:
        picture = source if isinstance(source, Image.Image) else read_image(source)
        inputs = transform(picture)
        return View(getattr(source, "name", "picture"), inputs, denormalised(inputs, MEAN, STD))

    return Subject(name, net, see, net)


def denormalised(inputs: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """What a network takes, [3, ...], as uint8 to look at."""
    shape = (3, *(1,) * (inputs.dim() - 1))
    values = inputs * torch.tensor(std).view(shape) + torch.tensor(mean).view(shape)
    return (values * 255).round().clamp(0, 255).to(torch.uint8)
