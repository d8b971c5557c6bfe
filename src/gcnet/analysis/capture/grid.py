"""Where tokens lie: which of them are no part of the picture, and the grid of the others."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from threading import local
from typing import Any

from torch import Tensor, nn

_Size = tuple[int, ...]


class Grids(local):
    """Sizes of what convolutions put out, the last ones last; the tokens of a transformer come from one of them.

    Every thread has its own, as it runs the model on pictures of its own.
    """

    def __init__(self) -> None:
        self.pictures = 0  # in the last batch
        self._sizes: list[_Size] = []

    def saw(self, output: Tensor, dims: int) -> None:
        """Note the size of one output [N, C, *spatial], or [C, *spatial], with so many spatial axes."""
        size = tuple(output.shape[-dims:])
        self.pictures = output.shape[0] if output.dim() == dims + 2 else 1
        if prod(size) > 1:
            self._sizes = [*(known for known in self._sizes if known != size), size]

    def lay_out(self, count: int, prefix: int, others: Sequence[_Size]) -> tuple[int, _Size]:
        """Tokens before the grid, and the grid, of ``count`` tokens; (count,) where no grid is known that fits."""
        for before in dict.fromkeys((prefix, 0)):
            for size in (*others, *reversed(self._sizes)):
                if prod(size) == count - before:
                    return before, size
        before = prefix if count > prefix else 0
        return before, (count - before,)


def declared_prefix(ancestors: Sequence[nn.Module]) -> int:
    """Tokens before those of the picture, as the nearest of the modules around a layer says."""
    for module in ancestors:
        count: Any = getattr(module, "num_prefix_tokens", None)
        if isinstance(count, int):
            return count
        for name in ("class_token", "cls_token"):
            token = getattr(module, name, None)
            if isinstance(token, Tensor):
                return token.shape[-2]
    return 0


def declared_grids(layer: nn.Module, ancestors: Sequence[nn.Module]) -> list[_Size]:
    """Sizes that a layer and the modules around it state: a window, or the grid of the patches."""
    grids = [getattr(getattr(module, "patch_embed", None), "grid_size", None) for module in ancestors]
    window: Any = getattr(layer, "window_size", None)
    if isinstance(window, int) and not isinstance(window, bool) and window:
        grids.insert(0, (window, window))
    elif isinstance(window, (tuple, list)):
        grids.insert(0, tuple(window))
    return [grid for grid in grids if isinstance(grid, tuple) and all(isinstance(side, int) for side in grid)]
