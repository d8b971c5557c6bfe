"""The non-local block with its four pairwise functions.

Non-local Neural Networks, Wang et al., arXiv:1711.07971.
"""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, check_channels, check_choice, hidden_width, zero_
from gcnet.ops import Projection, affinity_map, non_local
from gcnet.ops.affinity import PAIRWISE, add_context, non_local_context
from gcnet.ops.precision import saturate

torch.fx.wrap("non_local")
torch.fx.wrap("non_local_context")
torch.fx.wrap("add_context")
torch.fx.wrap("affinity_map")
torch.fx.wrap("saturate")

_SOFTMAX = ("gaussian", "embedded_gaussian")


class NonLocal(Block):
    """Non-local block: a context of its own for every query position.

    z_i = x_i + W_z sum_j omega_ij W_g x_j    (equations 1 and 6), with omega_ij over M keys

    - ``gaussian``: softmax_j <x_i, x_j>    (equation 2)
    - ``embedded_gaussian``: softmax_j <W_q x_i, W_k x_j>    (equation 3)
    - ``dot_product``: <W_q x_i, W_k x_j> / M    (equation 4)
    - ``concatenation``: ReLU(w_f [W_q x_i, W_k x_j]) / M    (equation 5)

    Args:
        channels: C.
        ratio: inner width / C.
        hidden: the inner width itself, instead of ``ratio``.
        pairwise: which of the four functions.
        scale: factor of the logits, for the two softmax functions only: None for the equations above,
            ``"inverse_sqrt"`` for (query width) ** -0.5 as the original implementation and mmcv use, or a number.
        subsample: None, or max-pool keys and values ``"before"`` their projection (original implementation,
            SlowFast) or ``"after"`` it (mmcv). The two are not equal; published weights exist for both.
        subsample_size: window and stride of that pooling, one int or one per spatial axis (1, 2, 2 for video in the
            original); clipped to the map.
        norm: BatchNorm after the output projection, with zero gamma at the start.
        out_bias: bias in the output projection. None: only without ``norm``, as in mmcv.
        init: ``"published"`` and ``"identity"`` are the same here: normal weights of standard deviation 0.01, and a
            zero output projection, or zero gamma with ``norm``.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] to the same, in the dtype and memory format of the input. The weights have no spatial axes.
        Memory grows with P + M, also in training: a whole attention map is laid out where it is small, for second
        derivatives, forward mode and functorch transforms, and by exported ``concatenation``. An exported program with
        sub-sampling needs dynamic axes of at least twice the window, and fixed ones on torch before 2.15, whose pooling
        bakes in whether an axis is even.

    Raises:
        ValueError: unknown options, a scale for a function that has none, an inner width below 1; later, an
            attention map that has to be laid out and is beyond ``gcnet.ops.affinity.AFFINITY_LIMIT`` (not checked in
            compiled code).

    Example:
        >>> import torch
        >>> from gcnet import NonLocal
        >>> block = NonLocal(64, pairwise="dot_product", subsample="after")
        >>> block(torch.randn(2, 64, 14, 14)).shape
        torch.Size([2, 64, 14, 14])
        >>> block.attention_map(torch.randn(2, 64, 14, 14)).shape
        torch.Size([2, 196, 49])
    """

    def __init__(
        self,
        channels: int,
        ratio: float = 1 / 2,
        *,
        hidden: int | None = None,
        pairwise: str = "embedded_gaussian",
        scale: str | float | None = None,
        subsample: str | None = None,
        subsample_size: int | tuple[int, ...] = 2,
        norm: bool = False,
        out_bias: bool | None = None,
        init: str = "published",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        self.hidden = hidden_width(channels, ratio, hidden)
        check_choice("pairwise", pairwise, PAIRWISE)
        check_choice("subsample", subsample, (None, "before", "after"))
        check_choice("init", init, ("published", "identity"))
        self.pairwise, self.subsample = pairwise, subsample
        self.subsample_size = check_window(subsample_size)
        self.scale = check_scale(scale, pairwise, channels if pairwise == "gaussian" else self.hidden)

        def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
            return nn.Linear(inputs, outputs, bias=bias, device=device, dtype=dtype)

        embedded = pairwise != "gaussian"
        self.query = linear(channels, self.hidden) if embedded else None
        self.key = linear(channels, self.hidden) if embedded else None
        self.value = linear(channels, self.hidden)
        self.concat = linear(2 * self.hidden, 1, bias=False) if pairwise == "concatenation" else None
        self.out = linear(self.hidden, channels, bias=not norm if out_bias is None else out_bias)
        self.norm = nn.BatchNorm1d(channels, device=device, dtype=dtype) if norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of standard deviation 0.01, zero biases, and a start as the identity."""
        for layer in (self.query, self.key, self.value, self.concat, self.out):
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.01)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        if self.norm is None:
            zero_(self.out)
        else:
            self.norm.reset_parameters()
            zero_(self.norm)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        concat = None if self.concat is None else self.concat.weight
        value, out = Projection(self.value.weight, self.value.bias), Projection(self.out.weight, self.out.bias)
        query, key = _projection(self.query), _projection(self.key)
        op = non_local if self.norm is None else non_local_context
        y = op(
            x,
            value=value,
            out=out,
            query=query,
            key=key,
            pairwise=self.pairwise,
            concat_weight=concat,
            scale=self.scale,
            subsample=self.subsample,
            subsample_size=self.subsample_size,
        )
        if self.norm is None:
            return y
        return add_context(x, self.norm(saturate(y, self.norm.weight)))

    def attention_map(self, x: Tensor) -> Tensor:
        """Weights omega [N, P, M] of M keys for each of P queries, for the features [N, C, *spatial]."""
        return affinity_map(
            x,
            query=_projection(self.query),
            key=_projection(self.key),
            pairwise=self.pairwise,
            concat_weight=None if self.concat is None else self.concat.weight,
            scale=self.scale,
            subsample=self.subsample,
            subsample_size=self.subsample_size,
        )

    def extra_repr(self) -> str:
        """Options in one line."""
        parts = [f"{self.channels}", f"hidden={self.hidden}", f"pairwise={self.pairwise!r}"]
        if self.scale is not None:
            parts.append(f"scale={self.scale:.4g}")
        if self.subsample is not None:
            parts.append(f"subsample={self.subsample!r}, subsample_size={self.subsample_size}")
        return ", ".join(parts)


def check_scale(scale: str | float | None, pairwise: str, width: int) -> float | None:
    """The factor of the logits as a number, or None; raise ValueError where there is no such factor."""
    if scale is None:
        return None
    if pairwise not in _SOFTMAX:
        raise ValueError(f"scale={scale!r} goes with {_SOFTMAX}; {pairwise!r} divides by the number of keys instead")
    if scale == "inverse_sqrt":
        return float(width**-0.5)
    if isinstance(scale, (int, float)) and not isinstance(scale, bool) and isfinite(scale):
        return float(scale)
    raise ValueError(f"scale={scale!r} is not one of None, 'inverse_sqrt', or a number")


def check_window(size: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """Raise ValueError unless ``size`` is a positive int or a tuple of such."""
    sizes = size if isinstance(size, (tuple, list)) else (size,)
    if not sizes or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sizes):
        raise ValueError(f"subsample_size={size!r} must be a positive int or one per spatial axis, such as (1, 2, 2)")
    return size if isinstance(size, int) else tuple(sizes)


def _projection(layer: nn.Linear | None) -> Projection | None:
    return None if layer is None else Projection(layer.weight, layer.bias)
