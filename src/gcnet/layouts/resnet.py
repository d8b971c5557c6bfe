"""Classifiers with the names of torchvision's ResNet: torchvision, timm, senet.pytorch, mm-style and our own."""

from __future__ import annotations

from gcnet.layouts.network import Child, NetworkLayout, Rename

_KEYS = (
    "conv1.{leaf}",
    "bn1.{leaf}",
    "layer{stage}.{block}.conv{index}.{leaf}",
    "layer{stage}.{block}.bn{index}.{leaf}",
    "layer{stage}.{block}.downsample.{index}.{leaf}",
)
_MARKS = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")
_HOST = tuple(Rename(key, key) for key in (*_KEYS, "fc.{leaf}"))
_PREFIXED = tuple(Rename(f"backbone.{key}", key) for key in _KEYS)
_MM_CHILDREN = (
    Child("context_block", "mmcv ContextBlock", movable=True),
    Child("nonlocal_block", "mmcv NonLocal", movable=True),
    Child("se_layer", "mmdetection SELayer"),
)
#: What the tensors of mm-style files do not tell.
_ASSUMED = {"style": "pytorch", "dilations": "1"}
_PREFIXED_SITE = Rename("backbone.layer{stage}.{block}", "layer{stage}.{block}")

GCNET = NetworkLayout(
    "gcnet",
    marks=_MARKS,
    renames=_HOST,
    children=tuple(
        Child("context_block", f"gcnet {block}", movable=True)
        for block in ("GlobalContext", "NonLocal", "SqueezeExcite", "SimplifiedNonLocal", "CBAM", "BAM", "SCSE")
    ),
)
TORCHVISION = NetworkLayout(
    "torchvision ResNet", _MARKS, _HOST, (Child("context_block", "mmcv ContextBlock", movable=True),)
)
TIMM = NetworkLayout(
    "timm ResNet",
    _MARKS,
    _HOST,
    tuple(Child("se", f"timm {block}") for block in ("GlobalContext", "SEModule", "NonLocalAttn")),
)
SENET_PYTORCH = NetworkLayout("senet.pytorch ResNet", _MARKS, _HOST, (Child("se", "senet.pytorch SELayer"),))
MM = NetworkLayout(
    "mm ResNet",
    marks=tuple(f"backbone.{mark}" for mark in _MARKS),
    renames=(*_PREFIXED, Rename("head.fc.{leaf}", "fc.{leaf}")),
    children=_MM_CHILDREN,
    site=_PREFIXED_SITE,
    assumed=_ASSUMED,
)
MM_BACKBONE = NetworkLayout("mm ResNet backbone", _MARKS, _HOST[:-1], _MM_CHILDREN, assumed=_ASSUMED)

#: Keys as in mm-style files; to be named by the user, for its non-local block scales its logits the other way round.
GCNET_REPOSITORY = NetworkLayout(
    "GCNet repository ResNet",
    MM.marks,
    MM.renames,
    (
        Child("context_block", "mmcv ContextBlock"),
        Child("nonlocal_block", "GCNet repository NonLocal2D", movable=True),
    ),
    site=_PREFIXED_SITE,
    assumed=_ASSUMED,
)

#: The mm-style backbone before torchvision: without a classifier both fit, and only the former says what it assumes.
NETWORK_LAYOUTS = (GCNET, MM_BACKBONE, TORCHVISION, TIMM, SENET_PYTORCH, MM, GCNET_REPOSITORY)
