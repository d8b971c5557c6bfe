"""Global context on CUDA devices: kernels in Triton, which read and write the feature map as seldom as can be.

Importing this package imports ``triton``. With ``TRITON_INTERPRET=1`` set before, the kernels run on CPU tensors.
"""

from gcnet.ops.context.triton.fusion import fuse
from gcnet.ops.context.triton.maps import supports
from gcnet.ops.context.triton.pooling import pool
from gcnet.ops.context.triton.spreading import spread
from gcnet.ops.context.triton.summation import masked, sums
from gcnet.ops.context.triton.ticket import block, prefers_ticket

__all__ = ["block", "fuse", "masked", "pool", "prefers_ticket", "spread", "sums", "supports"]
