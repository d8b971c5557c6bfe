"""Blocks of mmcv; the official GCNet repository has the same keys."""

from __future__ import annotations

from functools import partial
from typing import Any

from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.layouts.table import (
    BATCH_NORM,
    RELU,
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
