"""The simplified non-local block, the step between the non-local and the global-context block.

GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, Cao et al., arXiv:1904.11492, section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, check_channels, check_choice, zero_
from gcnet.ops import attention_map, simplified_non_local

torch.fx.wrap("simplified_non_local")
torch.fx.wrap("attention_map")


class SimplifiedNonLocal(Block):
    """Simplified non-local block: one attention map for all queries, one C -> C projection of what it pools.

    z_i = x_i + W_v sum_j alpha_j x_j, alpha_j = softmax_j(W_k x_j)    (GCNet, equation 4)

    Args:
        channels: C.
        init: ``"published"`` and ``"identity"`` are the same here: Kaiming-normal key, zero value projection.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] to the same, with one or more spatial axes, in the dtype and memory format of the input.

    Raises:
        ValueError: channels below 1, unknown init.

    Example:
        >>> import torch
        >>> from gcnet import SimplifiedNonLocal
        >>> SimplifiedNonLocal(64)(torch.randn(2, 64, 4, 14, 14)).shape
        torch.Size([2, 64, 4, 14, 14])
    """

    def __init__(
        self,
        channels: int,
        *,
        init: str = "published",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        check_choice("init", init, ("published", "identity"))
        self.key = nn.Linear(channels, 1, device=device, dtype=dtype)
        self.value = nn.Linear(channels, channels, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal key, zero value projection."""
        nn.init.kaiming_normal_(self.key.weight, nonlinearity="relu")
        nn.init.zeros_(self.key.bias)
        zero_(self.value)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        return self._run(x)

    def forward_residual(self, x: Tensor, residual: Tensor) -> Tensor:
        """``relu(self(x) + residual)`` in one pass."""
        return self._run(x, residual=residual, relu=True)

    def _run(self, x: Tensor, *, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        key, value = self.key, self.value
        return simplified_non_local(x, key.weight, key.bias, value.weight, value.bias, residual=residual, relu=relu)

    def attention_map(self, x: Tensor) -> Tensor:
        """Weights over positions [N, P] that this block gives to the features [N, C, *spatial]."""
        return attention_map(x, self.key.weight, self.key.bias)

    def extra_repr(self) -> str:
        """Options in one line."""
        return f"{self.channels}"
