"""A network to look into, with how it sees pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class View:
    """One picture as a network sees it.

    Attributes:
        name: of the file.
        input: what the network takes, normalised: [3, H, W], or a clip [3, T, H, W].
        picture: the same to look at, uint8, of the same shape.
    """

    name: str
    input: Tensor
    picture: Tensor


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to look into.

    Attributes:
        name: as it was asked for.
        net: in eval mode; paths of blocks are those of its modules.
        see: a file, or a picture in memory, as this network sees it. Raises BrokenSample for what cannot be read.
        kind: ``"image"`` or ``"video"``.
        classes: names of the outputs; empty if unknown.
        run: folder of the run, None for a network that is none.
        data: of the run's own configuration, None for a network that is no run.
    """

    name: str
    net: nn.Module
    see: Callable[[Path | Image.Image], View]
    forward: Callable[[Tensor], Any]
    kind: str = "image"
    classes: tuple[str, ...] = ()
    run: Path | None = None
    data: Path | None = None

    @torch.inference_mode()
    def __call__(self, inputs: Tensor) -> Any:
        """Run the blocks of the network on inputs [N, 3, H, W] or [N, 3, T, H, W]; of a detector, its backbone."""
        return self.forward(inputs)


def open_subject(
    name: str, *, checkpoint: str = "best", weights: str | None = None, size: int | None = None
) -> Subject:
    """A trained network by the name of its run, its file, or its factory.

    Args:
        name: folder of a run; a file that :func:`gcnet.load` reads; ``torchvision:NAME``, ``timm:NAME`` or a name of
            one of the two.
        checkpoint: of a run: ``"best"`` or ``"last"``.
        weights: of a name: None for random ones, ``"pretrained"``, or a file.
        size: side of the square that pictures are cropped to, in pixels; by default the network's own.

    Raises:
        ValueError, FileNotFoundError: no such run, file or network.
    """
    from gcnet.study import networks, runs

    if Path(name).is_dir():
        return runs.open_run(Path(name), checkpoint)
    return networks.open_network(name, weights=weights, size=size)
