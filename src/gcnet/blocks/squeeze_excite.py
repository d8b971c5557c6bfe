"""Squeeze-and-excitation.

Squeeze-and-Excitation Networks, Hu et al., arXiv:1709.01507.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcnet.blocks.base import Block, check_channels, check_choice, hidden_width, resolve_gate, zero_
from gcnet.blocks.bottleneck import ContextTransform
from gcnet.ops import squeeze_excite

torch.fx.wrap("squeeze_excite")


class SqueezeExcite(Block):
    """Squeeze-and-excitation block: average pooling, bottleneck, scaling of every channel.

    y = x * sigmoid(W_2 ReLU(W_1 mean(x)))    (SENet, equations 2-4)

    Args:
        channels: C.
        ratio: hidden width / C; the width is ``int(C * ratio)``.
        hidden: the hidden width itself, instead of ``ratio``.
        activation: ``"relu"`` as published, or ``"silu"`` as in EfficientNet.
        gate_function: ``"sigmoid"`` as published, or ``"hard_sigmoid"`` as in MobileNetV3.
        bias: biases in both projections.
        init: ``"published"``: PyTorch's default for both projections. ``"identity"``: the last one is zero and the gate
            centred.
        gate: ``"published"`` is the gate function itself, ``"centred"`` twice that, which is 1 at 0. None: as ``init``
            needs.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] to the same, with one or more spatial axes, in the dtype and memory format of the input.

    Raises:
        ValueError: a hidden width below 1, unknown options, an identity start with the published gate.

    Example:
        >>> import torch
        >>> from gcnet import SqueezeExcite
        >>> x = torch.randn(2, 64, 14, 14)
        >>> torch.equal(SqueezeExcite(64, init="identity")(x), x)
        True
    """

    def __init__(
        self,
        channels: int,
        ratio: float = 1 / 16,
        *,
        hidden: int | None = None,
        activation: str = "relu",
        gate_function: str = "sigmoid",
        bias: bool = True,
        init: str = "published",
        gate: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        self.hidden = hidden_width(channels, ratio, hidden)
        check_choice("activation", activation, ("relu", "silu"))
        check_choice("gate_function", gate_function, ("sigmoid", "hard_sigmoid"))
        self.gate = resolve_gate(init, gate)
        self.init = init
        self.activation, self.gate_function = activation, gate_function
        self.scale = ContextTransform(
            channels, self.hidden, norm=False, activation=activation, bias=bias, device=device, dtype=dtype
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's default; with ``init="identity"`` the last projection is zero."""
        assert self.scale.reduce is not None
        self.scale.reduce.reset_parameters()
        self.scale.expand.reset_parameters()
        if self.init == "identity":
            zero_(self.scale.expand)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        return self._run(x)

    def forward_residual(self, x: Tensor, residual: Tensor) -> Tensor:
        """``relu(self(x) + residual)`` in one pass."""
        return self._run(x, residual=residual, relu=True)

    def _run(self, x: Tensor, *, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        reduce, expand = self.scale.reduce, self.scale.expand
        assert reduce is not None
        return squeeze_excite(
            x,
            reduce.weight,
            reduce.bias,
            expand.weight,
            expand.bias,
            activation=self.activation,
            gate=self.gate_function,
            centred=self.gate == "centred",
            residual=residual,
            relu=relu,
        )

    def extra_repr(self) -> str:
        """Options in one line."""
        return (
            f"{self.channels}, hidden={self.hidden}, activation={self.activation!r}, "
            f"gate_function={self.gate_function!r}, gate={self.gate!r}"
        )
