"""A network to look into, with how it sees pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor, nn

Source: TypeAlias = Path | Image.Image


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


Sight: TypeAlias = Callable[[Source], View]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to look into. Calling it runs its blocks.

    Attributes:
        name: as it was asked for.
        net: in eval mode; paths of blocks are those of its modules.
        see: a file, or a picture in memory, as this network sees it. Raises BrokenSample for what it cannot see.
        forward: inputs [N, 3, H, W] or [N, 3, T, H, W] to outputs; of a detector, its backbone only.
        kind: ``"image"`` or ``"video"``.
        classes: names of the outputs of a classifier; empty where they are unknown, or it is none.
        run: folder of the run it belongs to, None if it belongs to none.
        data: what that run was trained on.
        trained: whether it has weights from somewhere.
    """

    name: str
    net: nn.Module
    see: Sight
    forward: Callable[[Tensor], Any]
    kind: str = "image"
    classes: tuple[str, ...] = ()
    run: Path | None = None
    data: Path | None = None
    trained: bool = True

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Any:
        """Outputs for [N, 3, H, W] or [N, 3, T, H, W], moved to the device of the network."""
        return self.forward(inputs.to(next(self.net.parameters()).device))


def open_subject(
    name: str, *, checkpoint: str = "best", weights: str | None = None, size: int | None = None
) -> Subject:
    """A network by the folder of its run, its file or its name.

    Args:
        name: folder of a run; a file that :func:`gcnet.load` reads; or a classifier ``"resnet18"``,
            ``"torchvision:NAME"``, ``"timm:NAME"``. A file within the folder of a run sees pictures as the run does.
        checkpoint: of a run: ``"best"`` or ``"last"``.
        weights: of a name: None for random ones, ``"pretrained"`` or ``"pretrained:TAG"`` to download them, or a file.
        size: side in pixels of the square that pictures are cut to, for names and files outside of runs; by default
            the network's own. Detectors scale pictures themselves.

    Returns:
        In eval mode, on a GPU if there is one.

    Raises:
        ValueError, FileNotFoundError: no such run, file or network; an option that does not go with it.

    Example:
        >>> subject = open_subject("timm:test_vit", size=160)
        >>> view = subject.see(Image.new("RGB", (300, 200)))
        >>> view.input.shape, subject(view.input[None]).shape, subject.trained
        (torch.Size([3, 160, 160]), torch.Size([1, 1000]), False)
    """
    from gcnet.study.networks import open_file, open_name
    from gcnet.study.runs import open_run, run_of

    path = Path(name)
    is_file = path.suffix != "" and path.is_file()
    is_address = name.startswith(("https://", "http://"))
    if (path.is_dir() or is_file or is_address) and weights is not None:
        raise ValueError(f"weights={weights}: {name} has its weights; leave weights out")
    if (path.is_dir() or (is_file and run_of(path))) and size is not None:
        raise ValueError(f"size={size}: {name} is of a run, which says how pictures are cut; leave size out")
    if size is not None and size < 1:
        raise ValueError(f"size={size} must be at least 1")
    if path.is_dir():
        return open_run(path, checkpoint)
    if checkpoint != "best":
        raise ValueError(f"checkpoint={checkpoint!r}: goes with the folder of a run, not with {name}")
    if is_file or is_address:
        return open_file(name, size=size)
    if name.endswith((".ckpt", ".pth", ".pt", ".safetensors", ".tar")) or name.count("/") > 0:
        raise FileNotFoundError(f"{name}: no such run or file")
    return open_name(name, weights=weights, size=size)
