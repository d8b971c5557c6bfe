"""Intervals by drawing the images again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Interval", "bootstrap"]

_CHUNK = 2**22  # indices drawn at a time


@dataclass(frozen=True)
class Interval:
    """A mean over images with its interval. Prints as ``0.402 [0.390, 0.418]``, small numbers with two digits.

    Attributes:
        mean: over the images.
        low: lower end; None of a single image, which tells nothing about others.
        high: upper end; likewise.
        images: how many there were.
    """

    mean: float
    low: float | None
    high: float | None
    images: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return _number(self.mean)
        return f"{_number(self.mean)} [{_number(self.low)}, {_number(self.high)}]"


def _number(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.2g}"


def bootstrap(
    values: Sequence[float] | Tensor, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of a mean over images, Efron and Tibshirani (1993), chapter 13.

    Images are drawn with replacement, as many as there are; the ends are percentiles of the means of such draws. Of few
    images the interval is too narrow: for normal values, one of 95 % holds the truth in some 84 % of cases with 5
    images, in 90 % with 10, and in 94 % with 50.

    Args:
        values: one number per image.
        level: share of draws inside, between 0 and 1.
        resamples: number of draws.
        seed: of the draws.

    Raises:
        ValueError: no images, values that are not finite, an impossible level or number of draws.

    Example:
        >>> found = bootstrap([0.1, 0.2, 0.4, 0.3, 0.2])
        >>> round(found.mean, 2), found.low < found.mean < found.high, found.images
        (0.24, True, 5)
        >>> print(bootstrap([0.4] * 9 + [0.5]))
        0.410 [0.400, 0.430]
        >>> bootstrap([0.1])
        Interval(mean=0.1, low=None, high=None, images=1)
    """
    values = torch.as_tensor(values, dtype=torch.float64).flatten()
    images = len(values)
    if not images:
        raise ValueError("values is empty; give one number per image")
    if not values.isfinite().all():
        raise ValueError("values has infinite values or NaN")
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples={resamples} must be at least 1")
    mean = values.mean().item()
    if images == 1:
        return Interval(mean, None, None, 1)
    generator = torch.Generator().manual_seed(seed)
    size = max(1, _CHUNK // images)
    means = torch.cat(
        [
            values[torch.randint(images, (min(size, resamples - done), images), generator=generator)].mean(1)
            for done in range(0, resamples, size)
        ]
    )
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return Interval(mean, low, high, images)
