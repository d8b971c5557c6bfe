"""What the blocks with spatial kernels share: layers by rank, and arithmetic in at least float32.

The functions are leaves for fx, so that neither rank nor dtype is fixed in a traced graph. Parameters stay in plain
``nn.Linear``, ``nn.ConvNd`` and ``nn.BatchNormNd`` layers; the normalisations are called as modules, which keeps
SyncBN conversion working.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcnet.blocks.base import check_input
from gcnet.ops.precision import full_precision, saturate, working_dtype

torch.fx.wrap("saturate")

CONV: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM: dict[int, type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
FORMS = ("paper", "code")

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


@torch.fx.wrap
def checked(x: Tensor, block: str, channels: int, dims: int) -> Tensor:
    """Return ``x`` [N, channels, *spatial], or raise ValueError or TypeError if the block cannot take it."""
    if x.dim() != dims + 2:
        raise ValueError(
            f"{block} was built with dims={dims} and expects [N, {channels}, {_AXES[dims]}], got shape "
            f"{tuple(x.shape)}; build it with the number of spatial axes of its input as dims"
        )
    check_input(block, x, channels)
    working_dtype(x)
    return x


@torch.fx.wrap
def average(x: Tensor) -> Tensor:
    """Mean over positions: [N, C, *spatial] to [N, C]."""
    with full_precision(x):
        return x.mean(tuple(range(2, x.dim())), dtype=working_dtype(x))


@torch.fx.wrap
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear`` in at least float32, under autocast too."""
    with full_precision(x):
        dtype = working_dtype(x, weight)
        return F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))


@torch.fx.wrap
def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution to the same size in at least float32, under autocast too; ``weight`` [out, in, *odd kernel]."""
    with full_precision(x):
        dtype = working_dtype(x, weight)
        operands = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        padding = tuple(size // 2 for size in weight.shape[2:])
        return _CONVOLVE[len(padding)](*operands, padding=padding)


def normalise(norm: nn.Module, x: Tensor, like: Tensor | None = None) -> Tensor:
    """``norm`` of ``x`` in the dtype of ``like``, finite for finite input in float16 too."""
    return saturate(norm(saturate(x, like)))


def sigmoid_gate(logits: Tensor, gate: str) -> Tensor:
    """The published sigmoid, or the centred gate 2 * sigmoid, which is 1 where the logits are 0."""
    factor = torch.sigmoid(logits)
    return 2 * factor if gate == "centred" else factor


class ChannelMLP(nn.Module):
    """expand(ReLU(norm(reduce(context)))), in at least float32: [N, C] to [N, out].

    ``norm=True`` puts a BatchNorm after the reduction; in training it needs more than one sample.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        out: int | None = None,
        *,
        norm: bool = False,
        bias: bool = True,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, hidden, bias=bias, device=device, dtype=dtype)
        self.norm = nn.BatchNorm1d(hidden, device=device, dtype=dtype) if norm else None
        self.expand = nn.Linear(hidden, out or channels, bias=bias, device=device, dtype=dtype)

    def forward(self, context: Tensor) -> Tensor:
        """[N, C] to [N, out]."""
        hidden = linear(context, self.reduce.weight, self.reduce.bias)
        if self.norm is not None:
            hidden = normalise(self.norm, hidden, self.reduce.weight)
        return linear(F.relu(hidden), self.expand.weight, self.expand.bias)


class ConvNormReLU(nn.Module):
    """Convolution, BatchNorm and ReLU with stride 1, same size: [N, in, *spatial] to [N, out, *spatial].

    The convolution runs in the dtype of its parameters or of autocast.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        dims: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.conv = CONV[dims](
            in_channels,
            out_channels,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=groups,
            bias=bias,
            device=device,
            dtype=dtype,
        )
        self.norm = NORM[dims](out_channels, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, *spatial] to [N, out, *spatial]."""
        return F.relu(normalise(self.norm, self.conv(saturate(x, self.conv.weight))))


def reset_parameters_(module: nn.Module) -> None:
    """Give every layer below ``module`` PyTorch's default start."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | _BatchNorm):
            layer.reset_parameters()
