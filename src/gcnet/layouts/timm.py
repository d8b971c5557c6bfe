"""Blocks of timm."""

from __future__ import annotations

from typing import Any

from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.blocks.squeeze_excite import SqueezeExcite
from gcnet.layouts.global_context import global_context_layout
from gcnet.layouts.non_local import NonLocalSource
from gcnet.layouts.squeeze_excite import squeeze_excite_layout
from gcnet.layouts.table import (
    ACTIVATIONS,
    BATCH_NORM,
    GATES,
    RELU,
    SIGMOID,
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
        *conv(f"{theirs}.fc1", f"{ours}.reduce"),
        *layer_norm(f"{theirs}.norm", f"{ours}.norm"),
        *conv(f"{theirs}.fc2", f"{ours}.expand"),
    )


GLOBAL_CONTEXT = (*conv("conv_attn", "key"), *_transform("mlp_add", "add"), *_transform("mlp_scale", "scale"))
SE_MODULE = (*conv("fc1", "scale.reduce"), *conv("fc2", "scale.expand"))
EFFICIENTNET_SQUEEZE_EXCITE = (*conv("conv_reduce", "scale.reduce"), *conv("conv_expand", "scale.expand"))
NON_LOCAL_ATTN = (
    *conv("t", "query"),
    *conv("p", "key"),
    *conv("g", "value"),
    *conv("z", "out"),
    *batch_norm("norm", "norm"),
)
_LAYER_NORM = {"timm.layers.norm.LayerNorm2d": "LayerNorm"}


def _global_context(module: Any) -> Reading:
    transforms = {"add": module.mlp_add, "scale": module.mlp_scale}
    present = {fusion: mlp for fusion, mlp in transforms.items() if mlp is not None}
    if not present:
        raise ValueError("it fuses nothing: fuse_add and fuse_scale are both off")
    for mlp in present.values():
        translate(mlp.act, "activation", RELU)
        translate(mlp.norm, "norm", _LAYER_NORM)
    translate(module.gate, "gate", SIGMOID)
    first = next(iter(present.values()))
    options = {
        "hidden": first.fc1.out_channels,
        "pooling": "average" if module.conv_attn is None else "attention",
        "fusion": tuple(present),
        "norm_eps": first.norm.eps,
    }
    return Reading(first.fc1.in_channels, options, GLOBAL_CONTEXT)


def _se_module(module: Any) -> Reading:
    if module.add_maxpool:
        raise ValueError("it adds max pooling (add_maxpool=True), ours pools by the average only")
    translate(module.bn, "norm", {"torch.nn.modules.linear.Identity": "none"})
    options = {
        "hidden": module.fc1.out_channels,
        "activation": translate(module.act, "activation", ACTIVATIONS),
        "gate_function": translate(module.gate, "gate", GATES),
    }
    if module.fc1.bias is None:
        options["bias"] = False
    return Reading(module.fc1.in_channels, options, SE_MODULE)


def _senet_module(module: Any) -> Reading:
    translate(module.relu, "activation", RELU)
    translate(module.sigmoid, "gate", SIGMOID)
    return Reading(module.fc1.in_channels, {"hidden": module.fc1.out_channels}, SE_MODULE)


def _efficientnet_squeeze_excite(module: Any) -> Reading:
    options = {
        "hidden": module.conv_reduce.out_channels,
        "activation": translate(module.act1, "activation", ACTIVATIONS),
        "gate_function": translate(module.gate, "gate", GATES),
    }
    return Reading(module.conv_reduce.in_channels, options, EFFICIENTNET_SQUEEZE_EXCITE)


def _non_local_attn(module: Any) -> Reading:
    translate(module.norm, "norm", BATCH_NORM)
    # the factor is the inverse root of the input's width, not of the query's
    scale = {} if module.scale == 1 else {"scale": float(module.scale)}
    options = {"hidden": module.t.out_channels, **scale, "norm": True, "out_bias": True}
    return Reading(module.t.in_channels, options, NON_LOCAL_ATTN)


FOREIGN = (
    Foreign("timm.layers.global_context.GlobalContext", GlobalContext, _global_context),
    Foreign("timm.layers.squeeze_excite.SEModule", SqueezeExcite, _se_module),
    Foreign("timm.models.senet.SEModule", SqueezeExcite, _senet_module),
    Foreign("timm.models._efficientnet_blocks.SqueezeExcite", SqueezeExcite, _efficientnet_squeeze_excite),
    Foreign("timm.layers.non_local_attn.NonLocalAttn", NonLocal, _non_local_attn),
)
_ACTIVATIONS = {"relu": "", "silu": "act_layer='silu'"}
_GATES = {"sigmoid": "", "hard_sigmoid": "gate_layer='hard_sigmoid'"}
BLOCK_LAYOUTS = (
    global_context_layout("timm GlobalContext", GLOBAL_CONTEXT, norm_eps=1e-6),
    squeeze_excite_layout("timm SEModule", SE_MODULE, bias=(True, False), activations=_ACTIVATIONS, gates=_GATES),
    squeeze_excite_layout("timm SqueezeExcite", EFFICIENTNET_SQUEEZE_EXCITE, activations=_ACTIVATIONS, gates=_GATES),
    NonLocalSource(
        name="timm NonLocalAttn",
        keys=lambda dims, subsampled, norm: NON_LOCAL_ATTN,
        pairwise={"embedded_gaussian": ""},
        scales={"inverse_sqrt_input": "", "none": "use_scale=False"},
        dims=(2,),
        norm=(True,),
    ).layout,
)
