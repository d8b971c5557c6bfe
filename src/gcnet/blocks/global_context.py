"""The global-context block.

GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, Cao et al., arXiv:1904.11492.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block, check_channels, check_choice, format_option, hidden_width, resolve_gate, zero_
from gcnet.blocks.bottleneck import ContextTransform
from gcnet.ops import attention_map, global_context

torch.fx.wrap("global_context")
torch.fx.wrap("attention_map")

_FUSIONS = ("add", "scale")


class GlobalContext(Block):
    """Global-context block: attention pooling, bottleneck transform, fusion with every position.

    z_i = x_i + W_v2 ReLU(LN(W_v1 sum_j alpha_j x_j)), alpha_j = softmax_j(W_k x_j)    (GCNet, equation 6)

    With ``fusion="scale"``, x_i is multiplied by the sigmoid of the transform instead; with both, scaling comes first
    and each has its own transform of the same context, as in the official code.

    Args:
        channels: C.
        ratio: hidden width / C, 1/16 for the paper's r16; the width is ``int(C * ratio)``. With ``ratio=None`` and no
            ``hidden`` the transform is a single C -> C projection ("w/o ratio" in the paper's ablation).
        pooling: ``"attention"``, or ``"average"`` for the mean over positions.
        fusion: a tuple out of ``"add"`` and ``"scale"``, or one of them as a string.
        hidden: the hidden width itself, instead of ``ratio``.
        norm: LayerNorm in the bottleneck; on by default.
        relu: ReLU in the bottleneck; on by default.
        norm_eps: epsilon of the LayerNorm.
        init: ``"published"``: the last projection of each transform starts at zero, so that an addition starts as the
            identity and a scaling at 0.5. ``"identity"``: both start as the identity.
        gate: ``"published"`` is sigmoid(t), ``"centred"`` 2 * sigmoid(t), which is 1 at t = 0. None: as ``init`` needs.
        device: device of the parameters.
        dtype: dtype of the parameters.

    Shape:
        [N, C, *spatial] to the same, with one or more spatial axes. The weights have no spatial axes, one state dict
        serves 1D, 2D and 3D. The output has the dtype and memory format of the input.

    Raises:
        ValueError: a hidden width below 1, or of 1 under a LayerNorm; unknown pooling, fusion, init or gate;
            ``norm=True`` or ``relu=True`` without a bottleneck; an identity start with the published gate.

    Example:
        >>> import torch
        >>> from gcnet import GlobalContext
        >>> GlobalContext(256, ratio=1/16)(torch.randn(2, 256, 14, 14)).shape
        torch.Size([2, 256, 14, 14])
    """

    def __init__(
        self,
        channels: int,
        ratio: float | None = 1 / 16,
        pooling: str = "attention",
        fusion: str | Iterable[str] = ("add",),
        *,
        hidden: int | None = None,
        norm: bool | None = None,
        relu: bool | None = None,
        norm_eps: float = 1e-5,
        init: str = "published",
        gate: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = check_channels(channels)
        check_choice("pooling", pooling, ("attention", "average"))
        self.pooling = pooling
        self.fusion = check_fusion(fusion)
        self.gate = resolve_gate(init, gate, multiplicative="scale" in self.fusion)
        bottleneck = ratio is not None or hidden is not None
        if not bottleneck and (norm or relu):
            raise ValueError("norm= and relu= belong to the bottleneck; with ratio=None there is none, leave them out")
        norm = bottleneck if norm is None else norm
        relu = bottleneck if relu is None else relu
        self.hidden = hidden_width(channels, ratio, hidden, normalised=norm) if bottleneck else None

        self.key = nn.Linear(channels, 1, device=device, dtype=dtype) if pooling == "attention" else None
        transforms = {
            name: ContextTransform(
                channels,
                self.hidden,
                norm=norm,
                norm_eps=norm_eps,
                activation="relu" if relu else None,
                device=device,
                dtype=dtype,
            )
            for name in _FUSIONS
            if name in self.fusion
        }
        self.add = transforms.get("add")
        self.scale = transforms.get("scale")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the official code does: Kaiming-normal key, last projections zero."""
        if self.key is not None:
            nn.init.kaiming_normal_(self.key.weight, nonlinearity="relu")
            nn.init.zeros_(self.key.bias)
        for transform in (self.add, self.scale):
            if transform is not None:
                zero_(transform.expand)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, *spatial] to the same."""
        return self._run(x)

    def forward_residual(self, x: Tensor, residual: Tensor) -> Tensor:
        """``relu(self(x) + residual)`` in one pass."""
        return self._run(x, residual=residual, relu=True)

    def _run(self, x: Tensor, *, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        key = self.key
        return global_context(
            x,
            None if key is None else key.weight,
            None if key is None else key.bias,
            scale=None if self.scale is None else self.scale.weights(),
            add=None if self.add is None else self.add.weights(),
            centred=self.gate == "centred",
            residual=residual,
            relu=relu,
        )

    def attention_map(self, x: Tensor) -> Tensor:
        """Weights over positions [N, P] that this block gives to the features [N, C, *spatial].

        Raises:
            ValueError: the block pools by the average.
        """
        if self.key is None:
            raise ValueError("pooling='average' has no attention map; use pooling='attention'")
        return attention_map(x, self.key.weight, self.key.bias)

    def extra_repr(self) -> str:
        """Options in one line."""
        transform = self.add if self.add is not None else self.scale
        parts = [f"{self.channels}", f"hidden={self.hidden}", f"pooling={self.pooling!r}", f"fusion={self.fusion}"]
        if transform is not None and self.hidden is not None:
            parts += [f"norm={transform.norm is not None}", f"relu={transform.activation is not None}"]
        if self.scale is not None:
            parts.append(f"gate={format_option(self.gate)}")
        return ", ".join(parts)


def check_fusion(fusion: str | Iterable[str]) -> tuple[str, ...]:
    """Normalise to a tuple in the order of the vocabulary; raise ValueError for anything else."""
    if not isinstance(fusion, Iterable) or isinstance(fusion, Iterator):
        raise TypeError(f"fusion={fusion!r} must be a tuple out of {_FUSIONS}, such as ('add',)")
    names = (fusion,) if isinstance(fusion, str) else tuple(fusion)
    for name in names:
        check_choice("fusion", name, _FUSIONS)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"fusion={fusion!r} must name 'add', 'scale' or each once")
    return tuple(name for name in _FUSIONS if name in names)
