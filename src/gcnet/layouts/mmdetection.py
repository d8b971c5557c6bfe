"""Mask R-CNN with FPN and the squeeze-and-excitation layer of mmdetection, with the official GCNet repository's keys.

The two layouts of the detector differ in a prefix and in the order of classes. 1.x (and the official repository) puts
the background first, as torchvision does. 2.x and 3.x put it last and give it neither boxes nor masks: those rows are
zero in ours, and dropped on the way back, since the background is never decoded.
"""

from __future__ import annotations

from typing import Any

import torch

from gcnet.layouts.network import Child, NetworkLayout, Rename
from gcnet.layouts.squeeze_excite import squeeze_excite_layout
from gcnet.layouts.table import Change, conv

SE_LAYER = (*conv("conv1.conv", "scale.reduce"), *conv("conv2.conv", "scale.expand"))
SE_LAYOUT = squeeze_excite_layout(
    "mmdetection SELayer",
    SE_LAYER,
    gates={"sigmoid": "", "hard_sigmoid": "act_cfg=(dict(type='ReLU'), dict(type='HSigmoid', bias=3.0, divisor=6.0))"},
)
BLOCK_LAYOUTS = (SE_LAYOUT,)

#: The background, last in theirs, is first in ours.
BACKGROUND_FIRST = Change("background class first", lambda rows: rows.roll(1, 0), lambda rows: rows.roll(-1, 0))


def _rows_of_background(count: int) -> Change:
    return Change(
        f"{count} row{'s' * (count > 1)} of the background, which 2.x has not: zero here, left out there",
        lambda rows: torch.cat([rows.new_zeros(count, *rows.shape[1:]), rows]),
        lambda rows: rows[count:],
    )


BACKBONE = tuple(
    Rename(f"backbone.{key}", f"backbone.body.{key}")
    for key in (
        "bn1.{leaf}",
        "layer{stage}.{block}.conv{index}.{leaf}",
        "layer{stage}.{block}.bn{index}.{leaf}",
        "layer{stage}.{block}.downsample.{index}.{leaf}",
    )
)
NECK_AND_RPN = (
    Rename("neck.lateral_convs.{level}.conv.{leaf}", "backbone.fpn.inner_blocks.{level}.0.{leaf}"),
    Rename("neck.fpn_convs.{level}.conv.{leaf}", "backbone.fpn.layer_blocks.{level}.0.{leaf}"),
    Rename("rpn_head.rpn_conv.{leaf}", "rpn.head.conv.0.0.{leaf}"),
    Rename("rpn_head.rpn_cls.{leaf}", "rpn.head.cls_logits.{leaf}"),
    Rename("rpn_head.rpn_reg.{leaf}", "rpn.head.bbox_pred.{leaf}"),
)


def _heads(prefix: str, classes: Change | None, boxes: Change | None, masks: Change | None) -> tuple[Rename, ...]:
    return (
        Rename(f"{prefix}bbox_head.shared_fcs.0.{{leaf}}", "roi_heads.box_head.fc6.{leaf}"),
        Rename(f"{prefix}bbox_head.shared_fcs.1.{{leaf}}", "roi_heads.box_head.fc7.{leaf}"),
        Rename(f"{prefix}bbox_head.fc_cls.{{leaf}}", "roi_heads.box_predictor.cls_score.{leaf}", classes),
        Rename(f"{prefix}bbox_head.fc_reg.{{leaf}}", "roi_heads.box_predictor.bbox_pred.{leaf}", boxes),
        Rename(f"{prefix}mask_head.convs.{{index}}.conv.{{leaf}}", "roi_heads.mask_head.{index}.0.{leaf}"),
        Rename(f"{prefix}mask_head.upsample.{{leaf}}", "roi_heads.mask_predictor.conv5_mask.{leaf}"),
        Rename(f"{prefix}mask_head.conv_logits.{{leaf}}", "roi_heads.mask_predictor.mask_fcn_logits.{leaf}", masks),
    )


def _mask_rcnn(name: str, head: tuple[Rename, ...], stem: Change | None = None, **assumed: Any) -> NetworkLayout:
    prefix = head[0].theirs.partition("bbox_head.")[0]
    return NetworkLayout(
        name,
        marks=("rpn_head.rpn_conv.weight", "neck.lateral_convs.{level}.conv.weight", f"{prefix}bbox_head.{{rest}}"),
        renames=(
            Rename("backbone.conv1.weight", "backbone.body.conv1.weight", stem),
            *BACKBONE,
            *NECK_AND_RPN,
            *head,
        ),
        children=(
            Child("context_block", "mmcv ContextBlock", movable=True),
            Child("nonlocal_block", "mmcv NonLocal", movable=True),
        ),
        refused={
            f"{prefix}bbox_head.{{index}}.{{rest}}": "several box heads (Cascade R-CNN)",
            f"{prefix}bbox_head.shared_convs.{{rest}}": "convolutions in the box head (4conv1fc)",
            "backbone.layer{stage}.{block}.conv2_offset.{leaf}": "deformable convolutions (DCN)",
            "backbone.layer{stage}.{block}.conv2.conv_offset.{leaf}": "deformable convolutions (DCN)",
        },
        supported=(
            "ResNet or ResNeXt with FPN, a box head of two shared layers (2fc) and a mask head of convolutions; "
            "the backbone alone is read with layout='mm ResNet' (--from), the other keys being allowed as unused"
        ),
        site=Rename("backbone.layer{stage}.{block}", "backbone.body.layer{stage}.{block}"),
        assumed={"style": "pytorch", **assumed},
    )


HEADS_1 = _heads("", None, None, None)
HEADS_2 = _heads("roi_head.", BACKGROUND_FIRST, _rows_of_background(4), _rows_of_background(1))
#: Caffe's networks take blue first; with the stem turned round, ours takes red first as always.
RED_FIRST = Change("red first", lambda weight: weight.flip(1), lambda weight: weight.flip(1))

MASK_RCNN_1 = _mask_rcnn("mmdetection 1.x Mask R-CNN", HEADS_1, conventions="mmdetection1")
MASK_RCNN_2 = _mask_rcnn("mmdetection 2.x Mask R-CNN", HEADS_2, conventions="mmdetection2")
MASK_RCNN_1_CAFFE = _mask_rcnn(
    "mmdetection 1.x Mask R-CNN caffe", HEADS_1, RED_FIRST, style="caffe", conventions="mmdetection1"
)
MASK_RCNN_2_CAFFE = _mask_rcnn(
    "mmdetection 2.x Mask R-CNN caffe", HEADS_2, RED_FIRST, style="caffe", conventions="mmdetection2"
)
NETWORK_LAYOUTS = (MASK_RCNN_1, MASK_RCNN_2, MASK_RCNN_1_CAFFE, MASK_RCNN_2_CAFFE)
