"""Softmax attention seen while it is computed, by the functions of torch that are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gcnet.analysis.capture.multihead import Attended

_SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax)
_PRODUCTS = (torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__)
#: What may happen to a map between its softmax and its values without making it another map.
_HANDED_ON = (F.dropout, torch.dropout, Tensor.to, Tensor.type_as, Tensor.float, Tensor.half, Tensor.contiguous)


class Watch(TorchFunctionMode):
    """Inside, every call of scaled_dot_product_attention, and every product of a softmaxed map with values, is told.

    Args:
        attended: called with what one scaled_dot_product_attention was given.
        laid_out: called with a map and its values.
    """

    def __init__(self, attended: Callable[[Attended], None], laid_out: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self._attended, self._laid_out = attended, laid_out
        self._map: Tensor | None = None
        self._same: list[Tensor] = []  # the map after steps that leave it the map

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            self._attended(_sdpa_arguments(*args, **kwargs))
        elif func in _SOFTMAX:
            over = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if result.dim() >= 3 and over in (-1, result.dim() - 1):
                self._map, self._same = result, [result]
        elif self._map is not None and args and any(args[0] is same for same in self._same):
            if func in _HANDED_ON:
                self._same.append(result)
            elif func in _PRODUCTS:
                value = args[1] if len(args) > 1 else next(iter(kwargs.values()))
                if value.dim() == self._map.dim():  # a table that all samples share holds no values of positions
                    self._laid_out(self._map, value)
                self._map, self._same = None, []
        return result


def _sdpa_arguments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Attended:
    return Attended(query, key, value, attn_mask, is_causal, scale)
