"""Concurrent spatial and channel squeeze-and-excitation.

Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks, Roy et al., arXiv:1803.02579.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gcnet.blocks.base import Block, check_channels, check_choice, check_dims, hidden_width, resolve_gate, zero_
from gcnet.blocks.spatial import CONV, FORMS, ChannelMLP, average, checked, reset_parameters_, sigmoid_gate
from gcnet.ops.precision import full_precision, working_dtype

torch.fx.wrap("checked")
torch.fx.wrap("average")


class SCSE(Block):
    """scSE block: every channel and every position is scaled, side by side.

    y = x * c + x * s,  c = sigmoid(W_2 ReLU(W_1 mean(x))) per channel,  s = sigmoid(w x) per position
    (arXiv:1803.02579, section 2)

    ``form="paper"`` adds the two as printed. ``form="code"`` is the authors' later code (repository
    ai-med/squeeze_and_excitation), which takes the larger one: y = max(x * c, x * s). Both have biases.

    The centred gate makes the block an identity where all logits are 0. For the maximum it is 2 * sigmoid. The sum
    needs the mean of two such gates, which is sigmoid + sigmoid: the paper's form computes the same with either gate.

    Args:
        channels: C.
        ratio: hidden width / C of the channel gate; the width is ``int(C * ratio)``.
        hidden: the hidden width itself, instead of ``ratio``.
        form: ``"paper"`` (sum) or ``"code"`` (maximum).
        init: ``"published"``: PyTorch's default. ``"identity"``: the last layer of both gates is zero and the gate
            centred, so that the block returns its input bit for bit.
        gate: ``"published"`` or ``"centred"``. None: as ``init`` needs.
        dims: number of spatial axes: 1, 2 or 3.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] with ``dims`` spatial axes to the same, in the dtype and memory format of the input.

    Raises:
        ValueError: a hidden width below 1, unknown options, an identity start with the published gate.

    Example:
        >>> import torch
        >>> from gcnet import SCSE
        >>> x = torch.randn(2, 16, 8, 8)
        >>> SCSE(16, form="code")(x).shape
        torch.Size([2, 16, 8, 8])
        >>> torch.equal(SCSE(16, init="identity")(x), x)
        True
    """

    has_spatial_kernels = True

    def __init__(
        self,
        channels: int,
        ratio: float = 1 / 2,
        *,
        hidden: int | None = None,
        form: str = "paper",
        init: str = "published",
        gate: str | None = None,
        dims: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        self.hidden = hidden_width(channels, ratio, hidden)
        check_choice("form", form, FORMS)
        self.form, self.init, self.gate = form, init, resolve_gate(init, gate)
        self.dims = check_dims(dims)
        self.channel_gate = ChannelMLP(channels, self.hidden, device=device, dtype=dtype)
        self.spatial_gate = CONV[self.dims](channels, 1, 1, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's default; with ``init="identity"`` the last layer of both gates is zero."""
        reset_parameters_(self)
        if self.init == "identity":
            zero_(self.channel_gate.expand, self.spatial_gate)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        x = checked(x, "SCSE", self.channels, self.dims)
        per_channel = self.channel_gate(average(x))
        return _scale(x, per_channel, self.spatial_gate.weight, self.spatial_gate.bias, self.form, self.gate)

    def extra_repr(self) -> str:
        """Options in one line."""
        return f"{self.channels}, hidden={self.hidden}, form={self.form!r}, gate={self.gate!r}, dims={self.dims}"


@torch.fx.wrap
def _scale(x: Tensor, per_channel: Tensor, weight: Tensor, bias: Tensor | None, form: str, gate: str) -> Tensor:
    """Both gates and their fusion; ``per_channel`` are logits [N, C], ``weight`` is [1, C, 1...]."""
    with full_precision(x):
        dtype = working_dtype(x, weight)
        features = x.to(dtype)
        batch, channels, *spatial = x.shape
        keys = weight.to(dtype).reshape(1, 1, channels).expand(batch, -1, -1)
        per_position = torch.bmm(keys, features.flatten(2)).reshape(batch, 1, *spatial)
        if bias is not None:
            per_position = per_position + bias.to(dtype)
        per_channel = per_channel.reshape(batch, channels, *(1,) * len(spatial))
        if form == "paper":
            # the same with both gates: the mean of 2 c and 2 s is c + s
            y = features * (torch.sigmoid(per_channel) + torch.sigmoid(per_position))
        else:
            y = torch.maximum(features * sigmoid_gate(per_channel, gate), features * sigmoid_gate(per_position, gate))
        return y.to(x.dtype)
