"""Blocks of mmcv; the official GCNet repository has the same keys."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from gcnet.blocks.context_block import ContextBlock
from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.layouts.global_context import global_context_layout
from gcnet.layouts.non_local import NonLocalSource
from gcnet.layouts.reading import check_gate, check_writable
from gcnet.layouts.table import (
    BATCH_NORM,
    RELU,
    BlockLayout,
    Foreign,
    Key,
    Reading,
    batch_norm,
    conv,
    layer_norm,
    translate,
)


def _transform(theirs: str, ours: str) -> tuple[Key, ...]:
    return (
        *conv(f"{theirs}.0", f"{ours}.reduce"),
        *layer_norm(f"{theirs}.1", f"{ours}.norm", axes=2),
        *conv(f"{theirs}.3", f"{ours}.expand"),
    )


CONTEXT_BLOCK = (
    *conv("conv_mask", "key"),
    *_transform("channel_add_conv", "add"),
    *_transform("channel_mul_conv", "scale"),
)


def non_local_keys(dims: int, *, subsampled: bool = False) -> tuple[Key, ...]:
    """Table of ``NonLocal1d``, ``2d`` or ``3d``; sub-sampling wraps two of the layers."""
    pooled = ".0" if subsampled else ""
    return (
        *conv("theta.conv", "query", dims),
        *conv(f"phi{pooled}.conv", "key", dims),
        *conv(f"g{pooled}.conv", "value", dims),
        Key("concat_project.conv.weight", "concat.weight", 2),
        *conv("conv_out.conv", "out", dims),
        *batch_norm("conv_out.bn", "norm"),
    )


def _context_block(module: Any) -> Reading:
    transforms = {"add": module.channel_add_conv, "scale": module.channel_mul_conv}
    present = {fusion: layers for fusion, layers in transforms.items() if layers is not None}
    for layers in present.values():
        translate(layers[2], "activation", RELU)
    options = {
        "hidden": module.planes,
        "pooling": "attention" if module.pooling_type == "att" else "average",
        "fusion": tuple(present),
        "norm_eps": next(iter(present.values()))[1].eps,
    }
    return Reading(module.in_channels, options, CONTEXT_BLOCK)


def _non_local(module: Any, dims: int) -> Reading:
    options: dict[str, Any] = {"hidden": module.inter_channels, "pairwise": module.mode}
    if module.use_scale and module.mode == "embedded_gaussian":  # the other modes ignore use_scale
        options["scale"] = "inverse_sqrt"
    if module.sub_sample:
        options |= {"subsample": "after", "subsample_size": module.g[1].kernel_size}
    if module.conv_out.norm is not None:
        translate(module.conv_out.norm, "norm", BATCH_NORM)
        options |= {"norm": True, "out_bias": module.conv_out.conv.bias is not None}
    return Reading(module.in_channels, options, non_local_keys(dims, subsampled=module.sub_sample))


FOREIGN = (
    Foreign("mmcv.cnn.bricks.context_block.ContextBlock", GlobalContext, _context_block),
    *(
        Foreign(f"mmcv.cnn.bricks.non_local.NonLocal{dims}d", NonLocal, partial(_non_local, dims=dims), dims)
        for dims in (1, 2, 3)
    ),
)

_CONTEXT_BLOCK = global_context_layout("mmcv ContextBlock", CONTEXT_BLOCK, norm_eps=1e-5)


def _write_context_block(block: Any, dims: int) -> tuple[Key, ...]:
    if not isinstance(block, ContextBlock):
        return _CONTEXT_BLOCK.write(block, dims)
    check_writable(_CONTEXT_BLOCK.name, block, ContextBlock, dims)
    if block.channel_mul_conv is not None:
        check_gate(_CONTEXT_BLOCK.name, block.gate)
    return tuple(Key(key.theirs, key.theirs) for key in CONTEXT_BLOCK)


NON_LOCAL = NonLocalSource(
    name="mmcv NonLocal",
    keys=lambda dims, subsampled, norm: non_local_keys(dims, subsampled=subsampled),
    pairwise={
        "embedded_gaussian": "",
        **{name: f"mode={name!r}" for name in ("dot_product", "gaussian", "concatenation")},
    },
    scales={"inverse_sqrt": "", "none": "use_scale=False"},
    subsample="after",
    bias_with_norm=False,
)
BLOCK_LAYOUTS: tuple[BlockLayout, ...] = (
    replace(_CONTEXT_BLOCK, write=_write_context_block, alike=ContextBlock),
    NON_LOCAL.layout,
)
