"""The weights of a transform, the middle step of context modelling, transform, fusion."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Transform(NamedTuple):
    """Channel mixing of a context [N, C]: ``expand(activation(norm(reduce(context))))``.

    Without ``reduce_weight`` it is the single projection ``expand(context)``, as in the simplified non-local block.
    Without ``norm_weight`` there is no LayerNorm; with ``activation=None`` no activation.
    """

    expand_weight: Tensor  #: [C, hidden], or [C, C] for a single projection
    expand_bias: Tensor | None = None  #: [C]
    reduce_weight: Tensor | None = None  #: [hidden, C]
    reduce_bias: Tensor | None = None  #: [hidden]
    norm_weight: Tensor | None = None  #: [hidden]
    norm_bias: Tensor | None = None  #: [hidden]
    norm_eps: float = 1e-5
    activation: str | None = None  #: "relu", "silu" or None
