"""Several looks at one video in testing: clips evenly spaced in time, crops along the longer side."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Views(NamedTuple):
    """Numbers of clips along time and of crops of each clip."""

    clips: int
    crops: int

    @classmethod
    def parse(cls, text: str) -> Views:
        """Read "10x3", the published test: 10 clips, 3 crops of each.

        Raises:
            ValueError: another form.

        Example:
            >>> Views.parse("10x3")
            Views(clips=10, crops=3)
        """
        found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
        if found is None:
            raise ValueError(f"views={text!r} must be clips x crops, such as 1x1 or 10x3")
        return cls(int(found[1]), int(found[2]))


def even_starts(latest: float, count: int) -> list[float]:
    """When ``count`` clips start, from the beginning of a video to ``latest``; one clip starts halfway.

    Example:
        >>> even_starts(8.0, 3), even_starts(8.0, 1)
        ([0.0, 4.0, 8.0], [4.0])
    """
    return [latest / 2] if count == 1 else np.linspace(0, latest, count).tolist()


def even_crops(frames: Tensor, size: int, count: int) -> Tensor:
    """Square crops along the longer side, from one end to the other; one crop is the centre.

    Args:
        frames: [..., H, W], at least ``size`` high and wide.
        size: pixels.
        count: crops.

    Returns:
        [count, ..., size, size]

    Example:
        >>> even_crops(torch.arange(5).expand(3, 5), 3, 3)[:, 0]
        tensor([[0, 1, 2],
                [1, 2, 3],
                [2, 3, 4]])
    """
    rest = torch.tensor(frames.shape[-2:]) - size
    shares = torch.tensor([0.5]) if count == 1 else torch.linspace(0, 1, count)
    longer = int(rest[1] >= rest[0])
    crops = []
    for share in shares.tolist():
        corner = [int(rest[0]) // 2, int(rest[1]) // 2]
        corner[longer] = round(share * int(rest[longer]))
        crops.append(frames[..., corner[0] : corner[0] + size, corner[1] : corner[1] + size])
    return torch.stack(crops)
