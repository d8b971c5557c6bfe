"""The context in which attention is collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.analysis.capture.blocks import block_kind, captured_block
from gcnet.analysis.capture.record import Captured


class Maps(Mapping[str, Captured]):
    """Path of a block -> what its last call showed, in the order of the calls."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Captured]] = {}

    def __getitem__(self, path: str) -> Captured:
        return self._calls[path][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def calls(self, path: str) -> tuple[Captured, ...]:
        """Every call of a block, in order."""
        return tuple(self._calls[path])

    def clear(self) -> None:
        """Forget what was collected, such as before the next batch."""
        self._calls.clear()

    def add(self, record: Captured) -> None:
        """Keep one call."""
        self._calls.setdefault(record.path, []).append(record)


@contextmanager
def capture(model: nn.Module, match: str | None = None, *, device: torch.device | str = "cpu") -> Iterator[Maps]:
    """Collect the attention of the blocks of ``model`` that run inside.

    Args:
        model: with GC, SNL or NL blocks.
        match: pattern of paths; by default all blocks.
        device: where what is collected is kept.

    Example:
        >>> from torch import nn
        >>> import gcnet
        >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), gcnet.NonLocal(16))
        >>> with capture(model) as maps:
        ...     _ = model(torch.randn(2, 3, 8, 8))
        >>> maps["1"].attention.shape
        torch.Size([2, 36, 36])
    """
    maps = Maps()

    def hook(path: str) -> Any:
        def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            with torch.no_grad():
                maps.add(captured_block(path, module, inputs[0].detach(), torch.device(device)))

        return see

    handles = [module.register_forward_hook(hook(path)) for path, module in model.named_modules() if block_kind(module)]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
