"""Global context on CUDA devices: kernels in Triton, which read and write the feature map as seldom as can be.

Importing this package imports ``triton``. With ``TRITON_INTERPRET=1`` set before, the kernels run on CPU tensors.
"""

from __future__ import annotations

from torch import Tensor

from gcnet.ops.context.layout import laid_out
from gcnet.ops.context.passes import Options
from gcnet.ops.context.transform import Transform
from gcnet.ops.context.triton import fusion, spreading, summation, ticket
from gcnet.ops.context.triton.maps import supports
from gcnet.ops.context.triton.pooling import pool
from gcnet.ops.context.triton.ticket import one_launch, prefers_ticket

__all__ = ["block", "block_backward", "fuse", "one_launch", "pool", "prefers_ticket", "spread", "sums", "supports"]


def fuse(
    x: Tensor, factor: Tensor | None, shift: Tensor | None, residual: Tensor | None = None, relu: bool = False
) -> Tensor:
    """As in ``eager.py``."""
    return fusion.fuse(x, factor, shift, laid_out(residual, x), relu)


def sums(
    g: Tensor, x: Tensor, want_factor: bool, want_shift: bool, y: Tensor | None = None
) -> tuple[Tensor | None, Tensor | None, Tensor]:
    """As in ``eager.py``."""
    return summation.sums(laid_out(g, x), x, want_factor, want_shift, y)


def spread(
    g: Tensor,
    x: Tensor,
    factor: Tensor | None,
    key: Tensor | None,
    weights: Tensor | None,
    context: Tensor,
    dcontext: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """As in ``eager.py``."""
    return spreading.spread(laid_out(g, x), x, factor, key, weights, context, dcontext)


def block(
    x: Tensor,
    key: Tensor | None,
    residual: Tensor | None,
    scale: Transform | None,
    add: Transform | None,
    options: Options,
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """The whole block in one launch, if enabled and the map does not stay in the L2 cache between two; else None."""
    if not ticket.ENABLED or key is None or not prefers_ticket(x, key, scale, add):
        return None
    return one_launch(x, key, scale, add, options.gate, options.centred, laid_out(residual, x), options.relu)


def block_backward(*arguments: object) -> None:
    """Nothing: the gradient goes by ``sums`` and ``spread``."""
