"""Global-context blocks of other libraries, read off their tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gcnet.blocks.global_context import GlobalContext
from gcnet.layouts.reading import check_gate, check_writable, checked, name_of, settle, widths
from gcnet.layouts.table import BlockLayout, Key, Reading

_FUSIONS = ("add", "scale")


def global_context_layout(name: str, keys: tuple[Key, ...], norm_eps: float) -> BlockLayout:
    """The layout of a GC block with two spatial axes; its pooling and fusion show in the keys that are there.

    Args:
        name: of the layout.
        keys: table of all the tensors it may have.
        norm_eps: epsilon of the LayerNorm in that source.
    """

    def read(tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Reading:
        fusion = tuple(way for way in _FUSIONS if name_of(keys, f"{way}.reduce.weight") in tensors)
        hidden, channels = widths(name, keys, f"{(*fusion, 'add')[0]}.reduce.weight", tensors)
        key = {name_of(keys, f"key.{leaf}") for leaf in ("weight", "bias")}
        pooling = "attention" if key & tensors.keys() else "average"
        told = {"hidden": hidden, "pooling": pooling, "fusion": fusion}
        chosen, assumed = settle(name, told, {"norm_eps": norm_eps}, options)
        return checked(name, GlobalContext, Reading(channels, chosen, keys, assumed), tensors)

    def write(block: GlobalContext, dims: int) -> tuple[Key, ...]:
        check_writable(name, block, GlobalContext, dims)
        if block.scale is not None:
            check_gate(name, block.gate)
        for transform in (block.add, block.scale):
            if transform is None:
                continue
            if transform.reduce is None or transform.norm is None or transform.activation is None:
                raise ValueError(
                    f"{name} has a bottleneck with LayerNorm and ReLU; this block has hidden={block.hidden}, "
                    f"norm={transform.norm is not None}, relu={transform.activation is not None}"
                )
            if transform.norm.eps != norm_eps:
                raise ValueError(
                    f"the LayerNorm of {name} has eps={norm_eps}, that of this block norm_eps={transform.norm.eps}; "
                    f"if the difference is of no matter, give norm_eps={norm_eps} where the block is read or built"
                )
        return keys

    anchors = tuple(
        tuple(name_of(keys, f"{way}.{layer}.weight") for layer in ("reduce", "norm", "expand")) for way in _FUSIONS
    )
    return BlockLayout(name, GlobalContext, anchors, read, write)
