"""What an implementation of global context brings: the passes over the feature map."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from gcnet.ops.context.transform import Transform


class Options(NamedTuple):
    """What is not a tensor among the arguments of the block."""

    scale: tuple[float, str | None] | None  #: norm_eps and activation of the transform, None without it
    add: tuple[float, str | None] | None
    gate: str
    centred: bool
    relu: bool


class Passes(Protocol):
    """Functions on maps [N, C, *spatial] and vectors [N, C], the latter in at least float32.

    ``eager`` shows what each computes.
    """

    def supports(self, x: Tensor) -> bool:
        """Whether the other functions take ``x``."""

    def pool(self, x: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Context [N, C] and the attention map [N, P] it was pooled with; without ``key`` [C] the mean and None."""

    def fuse(
        self, x: Tensor, factor: Tensor | None, shift: Tensor | None, residual: Tensor | None = None, relu: bool = False
    ) -> Tensor:
        """``x * factor + shift`` in the dtype of ``x``, then plus ``residual``, then ReLU."""

    def sums(
        self, g: Tensor, x: Tensor, want_factor: bool, want_shift: bool, y: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Gradients of factor and shift [N, C], and ``g``, with zeros where the ReLU behind ``y`` cut."""

    def spread(
        self,
        g: Tensor,
        x: Tensor,
        factor: Tensor | None,
        key: Tensor | None,
        weights: Tensor | None,
        context: Tensor,
        dcontext: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Gradient of ``x`` and of ``key`` [C], given those of the output ``g`` and of the context [N, C]."""

    def block(
        self,
        x: Tensor,
        key: Tensor | None,
        residual: Tensor | None,
        scale: Transform | None,
        add: Transform | None,
        options: Options,
    ) -> tuple[Tensor, Tensor, Tensor | None] | None:
        """Output, context and attention map at once; None to go by ``pool`` and ``fuse``."""

    def block_backward(
        self,
        g: Tensor,
        x: Tensor,
        y: Tensor | None,
        key: Tensor | None,
        context: Tensor,
        weights: Tensor | None,
        scale: Transform | None,
        add: Transform | None,
        options: Options,
    ) -> tuple[Tensor, Tensor | None, Tensor, tuple[Tensor | None, ...]] | None:
        """Gradients of x, key, residual and of the twelve tensors at once; None to go by ``sums`` and ``spread``."""
