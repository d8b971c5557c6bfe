"""Inflated 3D ResNets of mmaction and mmaction2, whose convolutions and norms are one module."""

from __future__ import annotations

from gcnet.layouts.network import Child, NetworkLayout, Rename

RESNET_3D = NetworkLayout(
    "mmaction ResNet3d",
    marks=("backbone.conv1.conv.weight", "backbone.layer1.0.conv1.conv.weight"),
    renames=(
        Rename("backbone.conv1.conv.{leaf}", "conv1.{leaf}"),
        Rename("backbone.conv1.bn.{leaf}", "bn1.{leaf}"),
        Rename("backbone.layer{stage}.{block}.downsample.conv.{leaf}", "layer{stage}.{block}.downsample.0.{leaf}"),
        Rename("backbone.layer{stage}.{block}.downsample.bn.{leaf}", "layer{stage}.{block}.downsample.1.{leaf}"),
        Rename("backbone.layer{stage}.{block}.conv{index}.conv.{leaf}", "layer{stage}.{block}.conv{index}.{leaf}"),
        Rename("backbone.layer{stage}.{block}.conv{index}.bn.{leaf}", "layer{stage}.{block}.bn{index}.{leaf}"),
        Rename("cls_head.fc_cls.{leaf}", "fc.{leaf}"),
    ),
    children=(Child("non_local_block", "mmcv NonLocal", "after_block"),),
    site=Rename("backbone.layer{stage}.{block}", "layer{stage}.{block}"),
    assumed={"style": "pytorch", "time_stride": "1"},
)
