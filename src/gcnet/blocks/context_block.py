"""The global-context block under the names of the article's code, for old configurations and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, check_channels, check_choice, hidden_width, resolve_gate, zero_
from gcnet.ops import Transform, attention_map, global_context

torch.fx.wrap("global_context")
torch.fx.wrap("attention_map")

_FUSIONS = ("channel_add", "channel_mul")


class ContextBlock(Block):
    """:class:`GlobalContext` with the call, the parameter names and the 4-D shapes of the published code.

    State-dict keys ``conv_mask``, ``channel_add_conv.0/1/3`` and ``channel_mul_conv.0/1/3``, as in the official GCNet
    repository and mmcv; the three are submodules that can be called, and None when unused. The block itself reads their
    weights and does not call them: for the attention map use :meth:`attention_map` instead of a hook on ``conv_mask``.

    Args:
        inplanes: C.
        ratio: hidden width / C, such as 1/16.
        pooling_type: ``"att"`` or ``"avg"``.
        fusion_types: out of ``"channel_add"`` and ``"channel_mul"``; with both, multiplication comes first.
        in_channels: mmcv's word for ``inplanes``.
        init: as in :class:`GlobalContext`.
        gate: as in :class:`GlobalContext`.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] to the same, in the dtype and memory format of the input.

    Raises:
        ValueError: as :class:`GlobalContext`.
        TypeError: neither or both of ``inplanes`` and ``in_channels``.

    Example:
        >>> import torch
        >>> from gcnet import ContextBlock
        >>> block = ContextBlock(inplanes=64, ratio=1/16)
        >>> block(torch.ones(12, 64, 128, 128)).shape
        torch.Size([12, 64, 128, 128])
    """

    def __init__(
        self,
        inplanes: int | None = None,
        ratio: float = 1 / 16,
        pooling_type: str = "att",
        fusion_types: Sequence[str] = ("channel_add",),
        *,
        in_channels: int | None = None,
        init: str = "published",
        gate: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if (inplanes is None) == (in_channels is None):
            raise TypeError("ContextBlock needs the number of channels once, as inplanes= or in_channels=")
        channels = inplanes if in_channels is None else in_channels
        self.channels = self.inplanes = check_channels(channels, "inplanes" if in_channels is None else "in_channels")
        self.ratio = ratio
        self.planes = hidden_width(self.channels, ratio, None, normalised=True, ratio_only=True)
        check_choice("pooling_type", pooling_type, ("att", "avg"))
        self.pooling_type = pooling_type
        self.fusion_types = _check_fusion_types(fusion_types)
        self.gate = resolve_gate(init, gate, multiplicative="channel_mul" in self.fusion_types)

        def conv(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel_size=1, device=device, dtype=dtype)

        def transform() -> nn.Sequential:
            return nn.Sequential(
                conv(self.channels, self.planes),
                nn.LayerNorm([self.planes, 1, 1], device=device, dtype=dtype),
                nn.ReLU(inplace=True),
                conv(self.planes, self.channels),
            )

        self.conv_mask = conv(self.channels, 1) if pooling_type == "att" else None
        self.channel_add_conv = transform() if "channel_add" in self.fusion_types else None
        self.channel_mul_conv = transform() if "channel_mul" in self.fusion_types else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming-normal mask, last convolutions zero, as published."""
        if self.conv_mask is not None:
            nn.init.kaiming_normal_(self.conv_mask.weight, nonlinearity="relu")
            nn.init.zeros_(self.conv_mask.bias)  # type: ignore[arg-type]
        for transform in (self.channel_add_conv, self.channel_mul_conv):
            if transform is not None:
                zero_(transform[3])

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        return self._run(x)

    def forward_residual(self, x: Tensor, residual: Tensor) -> Tensor:
        """``relu(self(x) + residual)`` in one pass."""
        return self._run(x, residual=residual, relu=True)

    def _run(self, x: Tensor, *, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        mask = self.conv_mask
        return global_context(
            x,
            None if mask is None else mask.weight.flatten(1),
            None if mask is None else mask.bias,
            scale=transform_weights(self.channel_mul_conv),
            add=transform_weights(self.channel_add_conv),
            centred=self.gate == "centred",
            residual=residual,
            relu=relu,
        )

    def attention_map(self, x: Tensor) -> Tensor:
        """Weights over positions [N, P] that this block gives to the features [N, C, *spatial].

        Raises:
            ValueError: the block pools by the average.
        """
        if self.conv_mask is None:
            raise ValueError("pooling_type='avg' has no attention map; use pooling_type='att'")
        return attention_map(x, self.conv_mask.weight.flatten(1), self.conv_mask.bias)

    def extra_repr(self) -> str:
        """Options in one line."""
        gate = f", gate={self.gate!r}" if self.channel_mul_conv is not None else ""
        return (
            f"{self.channels}, planes={self.planes}, pooling_type={self.pooling_type!r}, "
            f"fusion_types={self.fusion_types}{gate}"
        )


def transform_weights(transform: nn.Sequential | None) -> Transform | None:
    """The published layers as the op takes them."""
    if transform is None:
        return None
    layers: Any = transform
    reduce, norm, _, expand = layers
    return Transform(
        expand.weight.flatten(1),
        expand.bias,
        reduce.weight.flatten(1),
        reduce.bias,
        norm.weight.flatten(),
        norm.bias.flatten(),
        norm.eps,
        "relu",
    )


def _check_fusion_types(fusion_types: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(fusion_types, (tuple, list)) or not fusion_types:
        raise ValueError(f"fusion_types={fusion_types!r} must be a tuple out of {_FUSIONS}, such as ('channel_add',)")
    for name in fusion_types:
        check_choice("fusion_types", name, _FUSIONS)
    if len(set(fusion_types)) != len(fusion_types):
        raise ValueError(f"fusion_types={fusion_types!r} names one fusion twice")
    return tuple(fusion_types)
