"""Blocks of facebookresearch/SlowFast and pytorchvideo, in three dimensions."""

from __future__ import annotations

from gcnet.layouts.non_local import NonLocalSource
from gcnet.layouts.table import Key, batch_norm, conv

_PAIRWISE = {"embedded_gaussian": "", "dot_product": "instantiation='dot_product'"}


def non_local_keys(dims: int, norm: str) -> tuple[Key, ...]:
    """Table of ``Nonlocal`` with the name of its norm."""
    return (
        *conv("conv_theta", "query", dims),
        *conv("conv_phi", "key", dims),
        *conv("conv_g", "value", dims),
        *conv("conv_out", "out", dims),
        *batch_norm(norm, "norm"),
    )


NONLOCAL = NonLocalSource(
    name="SlowFast Nonlocal",
    keys=lambda dims, subsampled, norm: non_local_keys(dims, "bn"),
    pairwise=_PAIRWISE,
    scales={"inverse_sqrt": ""},
    dims=(3,),
    subsample="before",
    pool="pool_size",
    norm=(True,),
)
#: What pytorchvideo's ``create_nonlocal`` builds, and SlowFast's ``Nonlocal`` since its norm is a choice.
PYTORCHVIDEO = NonLocalSource(
    name="pytorchvideo NonLocal",
    keys=lambda dims, subsampled, norm: non_local_keys(dims, "norm"),
    pairwise=_PAIRWISE,
    scales={"inverse_sqrt": ""},
    dims=(3,),
    subsample="before",
    pool="pool_size",
)
BLOCK_LAYOUTS = (NONLOCAL.layout, PYTORCHVIDEO.layout)
