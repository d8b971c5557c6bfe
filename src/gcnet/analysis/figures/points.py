"""Query points: the positions whose attention is looked at.

A point is a tuple of shares from 0 to 1 along the axes of a picture, (y, x), or of a clip, (t, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Point = tuple[float, ...]

COUNT = 3  # points that are chosen
_ALIKE = 1e-3  # distance of features that do not differ, so that place alone tells their positions apart


def parse_points(text: str, size: Sequence[int]) -> tuple[Point, ...]:
    """Points out of ``x,y;x,y``, of a clip ``t,x,y;t,x,y``.

    Args:
        text: integers count pixels (and frames) from 0; numbers with a decimal point are shares from 0 to 1.
        size: (H, W) of the picture, or (T, H, W) of the clip, that is shown.

    Raises:
        ValueError: naming the point that is mixed, out of range or no point.

    Example:
        >>> parse_points("0.5,0.25;9,0", (20, 10))
        ((0.25, 0.5), (0.025, 0.95))
    """
    return tuple(_parse_point(point.strip(), tuple(size)) for point in text.split(";"))


def _parse_point(text: str, size: tuple[int, ...]) -> Point:
    names = ("t", "x", "y")[-len(size) :]
    extents = (*size[:-2], size[-1], size[-2])
    example = ",".join(str(extent // 2) for extent in extents)
    words = [word.strip() for word in text.split(",")]
    if len(words) != len(names):
        raise ValueError(f"queries: {text!r} is no point; give {','.join(names)}, such as {example}")
    shares = ["." in word for word in words]
    if any(shares) != all(shares):
        raise ValueError(
            f"queries: {text!r} mixes pixels and shares; give integers, such as {example}, "
            f"or numbers with a decimal point, such as {','.join(['0.5'] * len(names))}"
        )
    try:
        values = [float(word) if all(shares) else int(word) for word in words]
    except ValueError:
        raise ValueError(f"queries: {text!r} is no point; give numbers, such as {example}") from None
    for name, value, extent in zip(names, values, extents, strict=True):
        if not 0 <= value <= (1 if all(shares) else extent - 1):
            what = "shares go from 0.0 to 1.0" if all(shares) else f"{name} goes from 0 to {extent - 1} here"
            raise ValueError(f"queries: {text!r} is out of range: {name}={value}, but {what}")
    if not all(shares):
        values = [(value + 0.5) / extent for value, extent in zip(values, extents, strict=True)]
    *time, x, y = values
    return (*time, y, x)


def choose_points(features: Tensor) -> tuple[Point, ...]:
    """Three telling points of a picture: far from one another, on different content.

    Greedy farthest points, with cosine distance of features times Euclidean distance of places (as shares of the
    axes) between two positions. The first is the one whose feature is farthest from the mean. The outermost rows and
    columns, which padding marks, are left out where there are more than four. The same features give the same points.

    Args:
        features: the block's input, [C, H, W] or [C, T, H, W].

    Example:
        >>> features = torch.zeros(2, 8, 8)
        >>> features[0], features[1, 2, 5] = 1, 9
        >>> choose_points(features)
        ((0.3125, 0.6875), (0.8125, 0.1875), (0.1875, 0.8125))
    """
    size = features.shape[1:]
    cells = torch.cartesian_prod(*(torch.arange(extent) for extent in size))
    places = (cells + 0.5) / torch.tensor(size, dtype=torch.float64)
    edge = torch.tensor([1 / extent if extent > 4 else 0.0 for extent in size[-2:]], dtype=torch.float64)
    inner = ((places[:, -2:] > edge) & (places[:, -2:] < 1 - edge)).all(1)
    places, vectors = places[inner], features.detach().cpu().double().flatten(1).T[inner]
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    chosen = [int((vectors @ vectors.mean(0)).argmin())]
    distance = torch.full((len(places),), torch.inf, dtype=torch.float64)
    while len(chosen) < min(COUNT, len(places)):
        last = chosen[-1]
        apart = (1 - vectors @ vectors[last] + _ALIKE) * (places - places[last]).norm(dim=1)
        distance = distance.minimum(apart)
        chosen.append(int(distance.argmax()))
    return tuple(tuple(places[index].tolist()) for index in chosen)
