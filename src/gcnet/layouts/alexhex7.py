"""Blocks of AlexHex7/Non-local_pytorch."""

from __future__ import annotations

from gcnet.layouts.non_local import NonLocalSource
from gcnet.layouts.table import Key, batch_norm, conv


def non_local_keys(dims: int, subsampled: bool, norm: bool) -> tuple[Key, ...]:
    """Table of ``NONLocalBlock1D``, ``2D`` or ``3D``; sub-sampling and the norm wrap the layers before them."""
    pooled = ".0" if subsampled else ""
    return (
        *conv("theta", "query", dims),
        *conv(f"phi{pooled}", "key", dims),
        *conv(f"g{pooled}", "value", dims),
        Key("concat_project.0.weight", "concat.weight", 2),
        *conv("W.0" if norm else "W", "out", dims),
        *batch_norm("W.1", "norm"),
    )


NON_LOCAL_BLOCK = NonLocalSource(
    name="AlexHex7 NONLocalBlock",
    keys=non_local_keys,
    pairwise={
        "embedded_gaussian": "",
        **{name: f"the class of lib/non_local_{name}.py" for name in ("dot_product", "gaussian", "concatenation")},
    },
    scales={"none": ""},
    subsample="after",
)
BLOCK_LAYOUTS = (NON_LOCAL_BLOCK.layout,)
