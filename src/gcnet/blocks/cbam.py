"""Convolutional block attention.

CBAM: Convolutional Block Attention Module, Woo et al., arXiv:1807.06521.
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
    average,
    checked,
    convolve,
    normalise,
    reset_parameters_,
    sigmoid_gate,
)
from gcnet.ops.precision import full_precision, working_dtype

for _leaf in ("average", "checked", "convolve"):
    torch.fx.wrap(_leaf)


class CBAM(Block):
    """Convolutional block attention: a gate per channel, then a gate per position.

    x' = x * M_c(x),   M_c(x)  = sigmoid(MLP(mean(x)) + MLP(max(x))),   MLP(v) = W_1 ReLU(W_0 v)
    y  = x' * M_s(x'),  M_s(x') = sigmoid(conv7([mean_c(x'); max_c(x')]))    (CBAM, equations 1-3)

    mean and max run over positions in M_c and over channels in M_s.

    ``form="paper"`` is this, with the bias of the convolution. ``form="code"`` is the authors' code (repository
    Jongchan/attention-module): the maximum comes first in the concatenation, the convolution has no bias, and a
    BatchNorm (momentum 0.01, scale starting at zero) stands between it and the sigmoid. The MLP has biases in both, as
    in the authors' code; the paper does not print them.

    Args:
        channels: C.
        ratio: hidden width / C of the MLP; the width is ``int(C * ratio)``.
        hidden: the hidden width itself, instead of ``ratio``.
        kernel_size: size of the spatial kernel, odd.
        form: ``"paper"`` or ``"code"``.
        init: ``"published"``: PyTorch's default; in the code's form the scale of the BatchNorm is zero.
            ``"identity"``: the last layer of both gates is zero and the gates centred, so that the block returns its
            input bit for bit.
        gate: ``"published"`` is the sigmoid, ``"centred"`` twice that, which is 1 at 0. None: as ``init`` needs.
        dims: number of spatial axes: 1, 2 or 3.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] with ``dims`` spatial axes to the same, in the dtype and memory format of the input. The
        BatchNorm of the code's form needs more than one position in the batch while training, or it raises ValueError.

    Raises:
        ValueError: a hidden width below 1, an even kernel, unknown options, an identity start with the published gate.

    Example:
        >>> import torch
        >>> from gcnet import CBAM
        >>> x = torch.randn(2, 32, 8, 8)
        >>> CBAM(32)(x).shape
        torch.Size([2, 32, 8, 8])
        >>> torch.equal(CBAM(32, form="code", init="identity")(x), x)
        True
    """

    has_spatial_kernels = True

    def __init__(
        self,
        channels: int,
        ratio: float = 1 / 16,
        *,
        hidden: int | None = None,
        kernel_size: int = 7,
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
        if check_channels(kernel_size, "kernel_size") % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size} must be odd to keep the map's size, such as {kernel_size + 1}")
        check_choice("form", form, FORMS)
        self.form, self.init, self.gate = form, init, resolve_gate(init, gate)
        self.dims = check_dims(dims)
        self.channel_gate = ChannelMLP(channels, self.hidden, device=device, dtype=dtype)
        self.spatial_gate = SpatialGate(kernel_size, norm=form == "code", dims=dims, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's default; the code's norm and, with ``init="identity"``, the last layer of both gates at zero."""
        reset_parameters_(self)
        if self.spatial_gate.norm is not None:
            zero_(self.spatial_gate.norm)
        if self.init == "identity":
            zero_(self.channel_gate.expand)
            if self.spatial_gate.norm is None:
                zero_(self.spatial_gate.conv)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        x = checked(x, "CBAM", self.channels, self.dims)
        logits = self.channel_gate(average(x)) + self.channel_gate(_maximum(x))
        features = _scale(x, logits, self.gate)
        return _scale(features, self.spatial_gate(features), self.gate, x)

    def extra_repr(self) -> str:
        """Options in one line."""
        return f"{self.channels}, hidden={self.hidden}, form={self.form!r}, gate={self.gate!r}, dims={self.dims}"


class SpatialGate(nn.Module):
    """Logits per position from the mean and the maximum over channels: [N, C, *spatial] to [N, 1, *spatial]."""

    def __init__(
        self,
        kernel_size: int,
        *,
        norm: bool,
        dims: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.conv = CONV[dims](2, 1, kernel_size, padding=kernel_size // 2, bias=not norm, device=device, dtype=dtype)
        self.norm = NORM[dims](1, momentum=0.01, device=device, dtype=dtype) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to [N, 1, *spatial]."""
        mean, maximum = _over_channels(x)
        pair = (mean, maximum) if self.norm is None else (maximum, mean)
        logits = convolve(torch.cat(pair, 1), self.conv.weight, self.conv.bias)
        if self.norm is not None:
            logits = normalise(self.norm, logits, self.conv.weight)
        return logits


@torch.fx.wrap
def _maximum(x: Tensor) -> Tensor:
    """Maximum over positions: [N, C, *spatial] to [N, C]; its gradient is shared among equal values."""
    return x.amax(tuple(range(2, x.dim())))


@torch.fx.wrap
def _over_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    with full_precision(x):
        return x.mean(1, keepdim=True), x.amax(1, keepdim=True)


@torch.fx.wrap
def _scale(x: Tensor, logits: Tensor, gate: str, like: Tensor | None = None) -> Tensor:
    """x * gate(logits), for logits per channel [N, C] or per position [N, 1, *spatial], in at least float32.

    With ``like``, in its dtype.
    """
    with full_precision(x):
        dtype = working_dtype(x, logits)
        logits = logits.to(dtype).reshape(*logits.shape, *(1,) * (x.dim() - logits.dim()))
        y = x.to(dtype) * sigmoid_gate(logits, gate)
        return y if like is None else y.to(like.dtype)
