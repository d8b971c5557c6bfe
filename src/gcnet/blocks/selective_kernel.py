"""Selective kernel convolution.

Selective Kernel Networks, Li et al., arXiv:1903.06586.
"""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, check_channels, check_choice, check_dims, hidden_width
from gcnet.blocks.spatial import FORMS, ChannelMLP, ConvNormReLU, average, checked, reset_parameters_
from gcnet.ops.precision import full_precision

torch.fx.wrap("checked")


class SelectiveKernel(Block):
    """Selective kernel convolution: branches of growing reach, weighed against each other for every channel.

    U_m = ReLU(BN(conv_m(x))),  s = mean(sum_m U_m),  z = ReLU(BN(W s)),
    y = sum_m a_m * U_m,  a = softmax_m(A_m z)    (SKNet, equations 1-6)

    It replaces a 3x3 convolution and its norm and activation, so it cannot start as an identity.

    ``form="paper"``: branch m = 0, 1, ... is a grouped 3x3 convolution with dilation m + 1 (a 3x3 and a 5x5 kernel by
    default), and z has at least ``min_hidden`` = 32 channels. ``form="code"`` is the author's ResNet variant
    (repository implus/PytorchInsight): two branches without dilation, the first without groups, and no such floor.

    Args:
        channels: C, of the input and of the output.
        ratio: width of z / C; the width is ``int(C * ratio)``, at least ``min_hidden``.
        hidden: the width itself, instead of ``ratio``.
        min_hidden: L, the least width ``ratio`` may give. None: 32 in the paper's form, no floor in the code's.
        branches: M, at least 2; exactly 2 in the code's form.
        groups: groups of the convolutions, a divisor of C.
        form: ``"paper"`` or ``"code"``.
        dims: number of spatial axes: 1, 2 or 3.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] with ``dims`` spatial axes to the same, in the dtype and memory format of the input. In
        training BatchNorm needs more than one sample, or it raises ValueError.

    Raises:
        ValueError: groups that do not divide C, fewer than two branches, a hidden width below 1, unknown options.

    Example:
        >>> import torch
        >>> from gcnet import SelectiveKernel
        >>> SelectiveKernel(64)(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 64, 8, 8])
        >>> SelectiveKernel(64).hidden, SelectiveKernel(64, form="code").hidden
        (32, 4)
    """

    has_spatial_kernels = True
    can_be_identity = False

    def __init__(
        self,
        channels: int,
        ratio: float = 1 / 16,
        *,
        hidden: int | None = None,
        min_hidden: int | None = None,
        branches: int = 2,
        groups: int = 32,
        form: str = "paper",
        dims: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_choice("form", form, FORMS)
        self.channels = check_channels(channels)
        self.form = form
        self.dims = check_dims(dims)
        if min_hidden is None:
            least = 32 if form == "paper" else 0
        else:
            least = check_channels(min_hidden, "min_hidden")
        self.hidden = _hidden(channels, ratio, hidden, least)
        self.groups = _check_groups(groups, channels)
        _check_branches(branches, form)
        self.branches = nn.ModuleList(
            ConvNormReLU(
                channels,
                channels,
                kernel_size=3,
                dilation=index + 1 if form == "paper" else 1,
                groups=1 if form == "code" and index == 0 else groups,
                bias=False,
                dims=dims,
                device=device,
                dtype=dtype,
            )
            for index in range(branches)
        )
        self.attention = ChannelMLP(
            channels, self.hidden, branches * channels, norm=True, bias=False, device=device, dtype=dtype
        )

    def reset_parameters(self) -> None:
        """PyTorch's default for every layer."""
        reset_parameters_(self)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        x = checked(x, "SelectiveKernel", self.channels, self.dims)
        branches = [branch(x) for branch in self.branches]
        return _select(branches, self.attention(_pool(branches)), x)

    def extra_repr(self) -> str:
        """Options in one line."""
        return (
            f"{self.channels}, hidden={self.hidden}, branches={len(self.branches)}, groups={self.groups}, "
            f"form={self.form!r}, dims={self.dims}"
        )


@torch.fx.wrap
def _pool(branches: list[Tensor]) -> Tensor:
    """Mean of the sum of the branches: M times [N, C, *spatial] to [N, C]."""
    return torch.stack([average(branch) for branch in branches]).sum(0)


@torch.fx.wrap
def _select(branches: list[Tensor], logits: Tensor, x: Tensor) -> Tensor:
    """Sum of the branches weighted by a softmax over them; logits [N, M * C]. Dtype and memory format of ``x``."""
    with full_precision(x):
        batch, channels = x.shape[:2]
        weights = torch.softmax(logits.reshape(batch, len(branches), channels), dim=1)
        per_position = (batch, channels, *(1,) * (x.dim() - 2))
        y = branches[0] * weights[:, 0].reshape(per_position)
        for m, branch in enumerate(branches[1:], start=1):
            y = y + branch * weights[:, m].reshape(per_position)
        y = y.to(x.dtype)
        # convolutions in three dimensions may lose channels_last
        return y if y.stride() == x.stride() else torch.empty_like(x).copy_(y)


def _hidden(channels: int, ratio: float, hidden: int | None, least: int) -> int:
    """The width of z: ``hidden``, or C * ratio but at least ``least``."""
    if hidden is None and isinstance(ratio, Real) and 0 < channels * ratio < least:
        return least
    return hidden_width(channels, ratio, hidden)


def _check_groups(groups: int, channels: int) -> int:
    if channels % check_channels(groups, "groups"):
        divisors = [count for count in range(1, channels + 1) if channels % count == 0]
        nearest = min(divisors, key=lambda count: abs(count - groups))
        raise ValueError(
            f"groups={groups} does not divide channels={channels}; the nearest that does is {nearest} "
            f"(of {', '.join(map(str, divisors))})"
        )
    return groups


def _check_branches(branches: int, form: str) -> None:
    check_channels(branches, "branches")
    if branches < 2:
        raise ValueError(f"branches={branches}: selecting needs at least 2")
    if form == "code" and branches != 2:
        raise ValueError(f"branches={branches}: form='code' has exactly 2; form='paper' takes more")
