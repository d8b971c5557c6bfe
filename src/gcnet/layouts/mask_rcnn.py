"""Our own Mask R-CNN, whose host has torchvision's names."""

from __future__ import annotations

from gcnet.layouts.network import Child, NetworkLayout, Rename

MASK_RCNN = NetworkLayout(
    "gcnet Mask R-CNN",
    marks=("backbone.body.conv1.weight", "backbone.fpn.inner_blocks.{level}.0.weight", "rpn.head.conv.0.0.weight"),
    renames=tuple(
        Rename(key, key)
        for key in (
            "backbone.body.conv1.{leaf}",
            "backbone.body.bn1.{leaf}",
            "backbone.body.layer{stage}.{block}.conv{index}.{leaf}",
            "backbone.body.layer{stage}.{block}.bn{index}.{leaf}",
            "backbone.body.layer{stage}.{block}.downsample.{index}.{leaf}",
            "backbone.fpn.{rest}",
            "rpn.{rest}",
            "roi_heads.{rest}",
        )
    ),
    children=tuple(
        Child("context_block", f"gcnet {block}", movable=True)
        for block in ("GlobalContext", "NonLocal", "SqueezeExcite", "SimplifiedNonLocal", "CBAM", "BAM", "SCSE")
    ),
    site=Rename("backbone.body.layer{stage}.{block}", "backbone.body.layer{stage}.{block}"),
    assumed={"style": "pytorch", "conventions": "torchvision"},
)
