"""The transform of GC and SE blocks as parameters: one projection, or a bottleneck of two."""

from __future__ import annotations

import torch
from torch import nn

from gcnet.ops import Transform


class ContextTransform(nn.Module):
    """Holds the weights of ``expand(activation(norm(reduce(context))))``; [N, C] to [N, C].

    The block hands them to its op with :meth:`weights`, so that every implementation of the op sees plain tensors.
    Weights have no spatial axes: ``reduce.weight`` [hidden, C], ``norm.weight`` [hidden] and
    ``expand.weight`` [C, hidden].
    """

    def __init__(
        self,
        channels: int,
        hidden: int | None,
        *,
        norm: bool,
        norm_eps: float = 1e-5,
        activation: str | None,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation if hidden is not None else None
        self.reduce = None if hidden is None else nn.Linear(channels, hidden, bias=bias, device=device, dtype=dtype)
        self.norm = nn.LayerNorm(hidden, eps=norm_eps, device=device, dtype=dtype) if norm and hidden else None
        self.expand = nn.Linear(hidden or channels, channels, bias=bias, device=device, dtype=dtype)

    def weights(self) -> Transform:
        """The parameters as the op takes them."""
        reduce, norm = self.reduce, self.norm
        return Transform(
            self.expand.weight,
            self.expand.bias,
            None if reduce is None else reduce.weight,
            None if reduce is None else reduce.bias,
            None if norm is None else norm.weight,
            None if norm is None else norm.bias,
            1e-5 if norm is None else norm.eps,
            self.activation,
        )
