"""Functions on tensors, without state: the twins of the blocks. Each has a plain reference and faster paths."""

from gcnet.ops.affinity import Projection, affinity_map, non_local
from gcnet.ops.backend import backend
from gcnet.ops.context import Transform, attention_map, global_context, simplified_non_local, squeeze_excite

__all__ = [
    "Projection",
    "Transform",
    "affinity_map",
    "attention_map",
    "backend",
    "global_context",
    "non_local",
    "simplified_non_local",
    "squeeze_excite",
]
