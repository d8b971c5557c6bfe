"""Seeds as the command line has them."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: More are a slip, such as a seed in the place of their number.
MOST = 1000


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from text: how many (5), a range (3-7) or a list (0,1,5-7).

    Raises:
        ValueError: something else, no seed, one twice, or more than 1000.

    Example:
        >>> parse_seeds("3"), parse_seeds("3-5"), parse_seeds("0,4,6-7")
        ((0, 1, 2), (3, 4, 5), (0, 4, 6, 7))
    """
    if re.fullmatch(r"\d+", text):
        seeds = list(_few(range(int(text)), text))
    elif re.fullmatch(r"\d+(-\d+)?(,(\d+(-\d+)?)?)*", text):
        seeds = [seed for part in text.split(",") if part for seed in _range(part)]
    else:
        raise ValueError(f"seeds={text!r} must be how many (5), a range (3-7) or a list (0,1,2)")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={text!r}: {'one of them stands twice' if seeds else 'at least one is needed'}")
    return tuple(sorted(seeds))


def show_seeds(seeds: Iterable[int]) -> str:
    """The inverse of :func:`parse_seeds`, as short as it goes.

    Example:
        >>> show_seeds([0, 1, 2]), show_seeds([3, 4]), show_seeds([7]), show_seeds([0, 1, 5])
        ('3', '3-4', '7-7', '0-1,5')
    """
    ordered = sorted(set(seeds))
    if ordered == list(range(len(ordered))):
        return str(len(ordered))
    return f"{ordered[0]}-{ordered[0]}" if len(ordered) == 1 else ranges(ordered)


def ranges(seeds: Iterable[int]) -> str:
    """Seeds as numbers and ranges, for people.

    Example:
        >>> ranges([0, 1, 2, 5])
        '0-2,5'
    """
    found: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if found and seed == found[-1][1] + 1:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    if int(last or first) < int(first):
        raise ValueError(f"seeds={part!r} run backwards; write {last}-{first}")
    return _few(range(int(first), int(last or first) + 1), part)


def _few(seeds: range, text: str) -> range:
    if seeds[MOST:]:
        alone = f"; seed {text} alone is {text}-{text}" if text.isdigit() else ""
        raise ValueError(f"seeds={text!r} are more than {MOST} runs of every variant{alone}")
    return seeds
