"""Our own blocks, read off the names and shapes of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from gcnet.blocks.base import Block
from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.blocks.squeeze_excite import SqueezeExcite
from gcnet.layouts.table import BlockLayout, Key, Reading

Options = Mapping[str, Any]


def _global_context(tensors: Mapping[str, Tensor], options: Options) -> Reading:
    fusion = tuple(name for name in ("add", "scale") if f"{name}.reduce.weight" in tensors)
    hidden, channels = tensors[f"{fusion[0]}.reduce.weight"].shape
    known = {"hidden": hidden, "pooling": "attention" if "key.weight" in tensors else "average", "fusion": fusion}
    unsaid = {"gate": "published"} if "scale" in fusion else {}
    return _reading(tensors, channels, known, unsaid, options)


def _squeeze_excite(tensors: Mapping[str, Tensor], options: Options) -> Reading:
    hidden, channels = tensors["scale.reduce.weight"].shape
    known = {"hidden": hidden, "bias": "scale.reduce.bias" in tensors}
    unsaid = {"activation": "relu", "gate_function": "sigmoid", "gate": "published"}
    return _reading(tensors, channels, known, unsaid, options)


def _non_local(tensors: Mapping[str, Tensor], options: Options) -> Reading:
    channels, hidden = tensors["out.weight"].shape
    known: dict[str, Any] = {"hidden": hidden, "norm": "norm.weight" in tensors, "out_bias": "out.bias" in tensors}
    unsaid: dict[str, Any] = {"subsample": None}
    if "concat.weight" in tensors:
        known["pairwise"] = "concatenation"
    elif "query.weight" not in tensors:
        known["pairwise"] = "gaussian"
    else:
        unsaid |= {"pairwise": "embedded_gaussian", "scale": None}
    return _reading(tensors, channels, known, unsaid, options)


def _reading(
    tensors: Mapping[str, Tensor], channels: int, known: Options, unsaid: Options, options: Options
) -> Reading:
    assumed = {name: value for name, value in unsaid.items() if name not in options}
    return Reading(channels, {**known, **assumed, **options}, _identity(tensors), assumed)


def _identity(names: Mapping[str, Any]) -> tuple[Key, ...]:
    return tuple(Key(name, name) for name in names)


def _write(block: Block, dims: int) -> tuple[Key, ...]:
    return _identity(block.state_dict())


def _layout(block: type[Block], read: Callable[..., Reading], *anchors: tuple[str, ...]) -> BlockLayout:
    return BlockLayout(f"gcnet {block.__name__}", block, anchors, read, _write)


BLOCK_LAYOUTS = (
    _layout(
        GlobalContext,
        _global_context,
        ("add.reduce.weight", "add.norm.weight"),
        ("scale.reduce.weight", "scale.norm.weight"),
    ),
    _layout(NonLocal, _non_local, ("value.weight", "out.weight")),
    _layout(SqueezeExcite, _squeeze_excite, ("scale.reduce.weight", "scale.expand.weight")),
)
