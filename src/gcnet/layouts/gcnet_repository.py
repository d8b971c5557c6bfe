"""Blocks of xvjiarui/GCNet whose keys mmcv has too, but which compute something else.

Its ``ContextBlock``, and ``ContextBlock2d`` before it, is mmcv's.
"""

from __future__ import annotations

from gcnet.layouts.mmcv import non_local_keys
from gcnet.layouts.non_local import NonLocalSource

#: Divides the logits by inner ** -0.5 where it means to multiply.
NON_LOCAL_2D = NonLocalSource(
    name="GCNet repository NonLocal2D",
    keys=lambda dims, subsampled, norm: non_local_keys(dims),
    pairwise={"embedded_gaussian": "", "dot_product": "mode='dot_product'"},
    scales={"sqrt": "", "none": "use_scale=False"},
    dims=(2,),
    bias_with_norm=False,
)
BLOCK_LAYOUTS = (NON_LOCAL_2D.layout,)
