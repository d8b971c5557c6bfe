"""Blocks of other libraries, read off their tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.blocks.squeeze_excite import SqueezeExcite
from gcnet.layouts.mmcv import CONTEXT_BLOCK, non_local_keys
from gcnet.layouts.table import BlockLayout, Key, Reading
from gcnet.layouts.timm import EFFICIENTNET_SQUEEZE_EXCITE, GLOBAL_CONTEXT, NON_LOCAL_ATTN, SE_MODULE

Tensors = Mapping[str, Tensor]
Options = Mapping[str, Any]
SENET_PYTORCH = tuple(
    Key(f"fc.{index}.{name}", f"scale.{layer}.{name}")
    for index, layer in ((0, "reduce"), (2, "expand"))
    for name in ("weight", "bias")
)


def _read(channels: int, known: Options, unsaid: Options, options: Options, keys: tuple[Key, ...]) -> Reading:
    assumed = {name: value for name, value in unsaid.items() if name not in options}
    return Reading(channels, {**known, **assumed, **options}, keys, assumed)


def _check(name: str, block: Any, **expected: Any) -> None:
    for option, value in expected.items():
        if getattr(block, option) != value:
            raise ValueError(f"{name} has no {option}={getattr(block, option)!r}, only {value!r}")


def _context(
    name: str, key: str, transforms: Mapping[str, tuple[str, str]], keys: tuple[Key, ...], eps: float
) -> BlockLayout:
    """A GC block; ``transforms``: ours -> their first layer and their norm."""

    def read(tensors: Tensors, options: Options) -> Reading:
        fusion = tuple(ours for ours, (first, _) in transforms.items() if f"{first}.weight" in tensors)
        hidden, channels = tensors[f"{transforms[fusion[0]][0]}.weight"].shape[:2]
        pooling = "attention" if f"{key}.weight" in tensors else "average"
        known = {"hidden": hidden, "pooling": pooling, "fusion": fusion, "norm_eps": eps}
        return _read(channels, known, {}, options, keys)

    def write(block: GlobalContext, dims: int) -> tuple[Key, ...]:
        if dims != 2:
            raise ValueError(f"{name} has 2 spatial axes, not {dims}")
        if "scale" in block.fusion:
            _check(name, block, gate="published")
        for fusion in block.fusion:
            _check(name, getattr(block, fusion).norm, eps=eps)
        return keys

    anchors = tuple((f"{first}.weight", f"{norm}.weight") for first, norm in transforms.values())
    return BlockLayout(name, GlobalContext, anchors, read, write)


def _squeeze(name: str, first: str, keys: tuple[Key, ...], unsaid: Options) -> BlockLayout:
    def read(tensors: Tensors, options: Options) -> Reading:
        hidden, channels = tensors[f"{first}.weight"].shape[:2]
        return _read(channels, {"hidden": hidden, "bias": f"{first}.bias" in tensors}, unsaid, options, keys)

    def write(block: SqueezeExcite, dims: int) -> tuple[Key, ...]:
        if dims != 2:
            raise ValueError(f"{name} has 2 spatial axes, not {dims}")
        _check(name, block, gate="published", **({} if unsaid else _SE))
        return keys

    last = next(key.theirs for key in keys if key.ours == "scale.expand.weight")
    return BlockLayout(name, SqueezeExcite, ((f"{first}.weight", last),), read, write)


def _non_local(
    name: str,
    out: str,
    keys_of: Callable[[int, bool], tuple[Key, ...]],
    scales: Callable[[int, int], tuple[float | None, ...]],
    *anchors: tuple[str, ...],
) -> BlockLayout:
    def read(tensors: Tensors, options: Options) -> Reading:
        weight = tensors[f"{out}.weight"]
        pooled = any(".0." in key for key in tensors)
        keys = keys_of(weight.dim() - 2, pooled)
        names = {key.ours for key in keys if key.theirs in tensors}
        known: dict[str, Any] = {
            "hidden": weight.shape[1],
            "norm": "norm.weight" in names,
            "out_bias": "out.bias" in names,
        }
        more: dict[str, Any] = {}
        if "concat.weight" in names:
            known["pairwise"] = "concatenation"
        elif "query.weight" not in names:
            known["pairwise"] = "gaussian"
        else:
            more["pairwise"] = "embedded_gaussian"
            if options.get("pairwise", "embedded_gaussian") == "embedded_gaussian":
                more["scale"] = scales(*weight.shape[:2])[0]
        if pooled:
            known["subsample"] = "after"
            more["subsample_size"] = 2 if weight.dim() < 5 else (1, 2, 2)
        return _read(weight.shape[0], known, more, options, keys)

    def write(block: NonLocal, dims: int) -> tuple[Key, ...]:
        pooled = block.subsample == "after"
        keys = keys_of(dims, pooled)
        if block.subsample == "before" or (pooled and keys == keys_of(dims, False)):
            raise ValueError(f"{name} has no subsample={block.subsample!r}")
        if block.pairwise == "embedded_gaussian":
            allowed = scales(block.channels, block.hidden)
            if not any(block.scale == one for one in allowed):
                raise ValueError(f"{name} has no scale={block.scale}, only {' or '.join(map(str, allowed))}")
        absent = sorted(block.state_dict().keys() - {key.ours for key in keys})
        if absent:
            raise ValueError(f"{name} has nothing for {', '.join(absent)}")
        return keys

    return BlockLayout(name, NonLocal, anchors, read, write)


_MMCV_ANCHORS = tuple((f"{value}.weight", "conv_out.conv.weight") for value in ("g.conv", "g.0.conv"))
_SE = {"activation": "relu", "gate_function": "sigmoid"}
BLOCK_LAYOUTS: tuple[BlockLayout, ...] = (
    _context(
        "mmcv ContextBlock",
        "conv_mask",
        {
            name: (f"channel_{theirs}_conv.0", f"channel_{theirs}_conv.1")
            for name, theirs in (("add", "add"), ("scale", "mul"))
        },
        CONTEXT_BLOCK,
        1e-5,
    ),
    _context(
        "timm GlobalContext",
        "conv_attn",
        {name: (f"mlp_{name}.fc1", f"mlp_{name}.norm") for name in ("add", "scale")},
        GLOBAL_CONTEXT,
        1e-6,
    ),
    _squeeze("timm SEModule", "fc1", SE_MODULE, _SE),
    _squeeze("timm SqueezeExcite", "conv_reduce", EFFICIENTNET_SQUEEZE_EXCITE, {**_SE, "activation": "silu"}),
    _squeeze("torchvision SqueezeExcitation", "fc1", SE_MODULE, _SE),
    _squeeze("senet.pytorch SELayer", "fc.0", SENET_PYTORCH, {}),
    _non_local(
        "mmcv NonLocal",
        "conv_out.conv",
        lambda dims, pooled: non_local_keys(dims, subsampled=pooled),
        lambda channels, hidden: (hidden**-0.5, None),
        *_MMCV_ANCHORS,
    ),
    _non_local(
        "GCNet repository NonLocal2D",
        "conv_out.conv",
        lambda dims, pooled: non_local_keys(dims, subsampled=pooled),
        lambda channels, hidden: (hidden**0.5, None),  # divides by the inverse root, known as its bug
        *_MMCV_ANCHORS,
    ),
    _non_local(
        "timm NonLocalAttn",
        "z",
        lambda dims, pooled: NON_LOCAL_ATTN,
        lambda channels, hidden: (channels**-0.5, None),
        ("t.weight", "z.weight"),
    ),
)
