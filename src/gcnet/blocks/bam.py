"""Bottleneck attention.

BAM: Bottleneck Attention Module, Park et al., arXiv:1807.06514.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, check_channels, check_choice, check_dims, hidden_width, resolve_gate, zero_
from gcnet.blocks.spatial import (
    CONV,
    FORMS,
    NORM,
    ChannelMLP,
    ConvNormReLU,
    average,
    checked,
    convolve,
    normalise,
    reset_parameters_,
)
from gcnet.ops.precision import full_precision, working_dtype

for _leaf in ("average", "checked", "convolve"):
    torch.fx.wrap(_leaf)


class BAM(Block):
    """Bottleneck attention: one gate from a channel and a spatial branch, added to an identity.

    y = x * (1 + M(x)),  M(x) = sigmoid(M_c(x) + M_s(x))    (BAM, equations 1-2)
    M_c(x) = BN(MLP(mean(x)))                               (equation 3)
    M_s(x) = BN(conv1(conv3(conv3(conv1(x)))))              (equation 4; the conv3 are dilated)

    ``form="paper"`` is this. ``form="code"`` is the authors' code (repository Jongchan/attention-module): the branches
    are **multiplied**, M(x) = sigmoid(M_c(x) * M_s(x)), and have no last BatchNorm. Between the layers of a branch
    both forms have BatchNorm and ReLU, as the code does; the equations leave them out.

    The centred gate is 1/2 + sigmoid in place of 1 + sigmoid, which is 1 where its argument is 0.

    Args:
        channels: C.
        ratio: width / C of both bottlenecks; the width is ``int(C * ratio)``.
        hidden: the width itself, instead of ``ratio``.
        dilation: dilation of the two 3x3 convolutions of the spatial branch.
        form: ``"paper"`` (sum) or ``"code"`` (product).
        init: ``"published"``: PyTorch's default. ``"identity"``: the argument of the sigmoid is zero and the gate
            centred, so that the block returns its input bit for bit. In the paper's form both last norms are zero; in
            the code's form only the last layer of the channel branch, for a product of two zeros would never learn.
        gate: ``"published"`` or ``"centred"``. None: as ``init`` needs.
        dims: number of spatial axes: 1, 2 or 3.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] with ``dims`` spatial axes to the same, in the dtype and memory format of the input. In
        training BatchNorm needs more than one sample, or it raises ValueError.

    Raises:
        ValueError: a hidden width below 1, unknown options, an identity start with the published gate.

    Example:
        >>> import torch
        >>> from gcnet import BAM
        >>> x = torch.randn(2, 32, 8, 8)
        >>> BAM(32)(x).shape
        torch.Size([2, 32, 8, 8])
        >>> torch.equal(BAM(32, form="code", init="identity")(x), x)
        True
    """

    has_spatial_kernels = True

    def __init__(
        self,
        channels: int,
        ratio: float = 1 / 16,
        *,
        hidden: int | None = None,
        dilation: int = 4,
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
        self.dilation = check_channels(dilation, "dilation")
        check_choice("form", form, FORMS)
        self.form, self.init, self.gate = form, init, resolve_gate(init, gate)
        self.dims = check_dims(dims)
        paper = form == "paper"
        self.channel_gate = ChannelMLP(channels, self.hidden, norm=True, device=device, dtype=dtype)
        self.channel_norm = nn.BatchNorm1d(channels, device=device, dtype=dtype) if paper else None
        self.spatial_gate = SpatialGate(channels, self.hidden, dilation, dims=dims, device=device, dtype=dtype)
        self.spatial_norm = NORM[dims](1, device=device, dtype=dtype) if paper else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's default; with ``init="identity"`` the argument of the sigmoid is zero."""
        reset_parameters_(self)
        if self.init == "identity":
            if self.channel_norm is not None and self.spatial_norm is not None:
                zero_(self.channel_norm, self.spatial_norm)
            else:
                zero_(self.channel_gate.expand)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        x = checked(x, "BAM", self.channels, self.dims)
        per_channel = self.channel_gate(average(x))
        per_position = self.spatial_gate(x)
        if self.channel_norm is not None:
            per_channel = normalise(self.channel_norm, per_channel, self.channel_gate.expand.weight)
        if self.spatial_norm is not None:
            per_position = normalise(self.spatial_norm, per_position, self.spatial_gate.expand.weight)
        return _scale(x, per_channel, per_position, self.form, self.gate)

    def extra_repr(self) -> str:
        """Options in one line."""
        return (
            f"{self.channels}, hidden={self.hidden}, dilation={self.dilation}, form={self.form!r}, "
            f"gate={self.gate!r}, dims={self.dims}"
        )


class SpatialGate(nn.Module):
    """1x1 reduction, two dilated 3x3 convolutions, 1x1 to one channel: [N, C, *spatial] to [N, 1, *spatial]."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        dilation: int,
        *,
        dims: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.reduce = ConvNormReLU(channels, hidden, dims=dims, device=device, dtype=dtype)
        self.dilated = nn.Sequential(
            *(
                ConvNormReLU(hidden, hidden, kernel_size=3, dilation=dilation, dims=dims, device=device, dtype=dtype)
                for _ in range(2)
            )
        )
        self.expand = CONV[dims](hidden, 1, 1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to [N, 1, *spatial]."""
        return convolve(self.dilated(self.reduce(x)), self.expand.weight, self.expand.bias)


@torch.fx.wrap
def _scale(x: Tensor, per_channel: Tensor, per_position: Tensor, form: str, gate: str) -> Tensor:
    """x * (1 + sigmoid of the joined logits [N, C] and [N, 1, *spatial]), or x * (1/2 + sigmoid) if centred."""
    with full_precision(x):
        dtype = working_dtype(x, per_channel, per_position)
        per_channel = per_channel.to(dtype).reshape(*per_channel.shape, *(1,) * (x.dim() - 2))
        per_position = per_position.to(dtype)
        logits = per_channel + per_position if form == "paper" else per_channel * per_position
        y = x.to(dtype) * ((1.0 if gate == "published" else 0.5) + torch.sigmoid(logits))
        return y.to(x.dtype)
