"""The options of a built detector that matter for what it computes, read off it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from gcnet.models.detectors import conventions_of
from gcnet.models.mmdetection import STRIDES


class Option(NamedTuple):
    """Type of an option of ``torchvision.models.detection.MaskRCNN``, and where the built network keeps it."""

    kind: Any
    path: str


_NUMBERS = tuple[float, ...]

OPTIONS: dict[str, Option] = {
    "num_classes": Option(int, "roi_heads.box_predictor.cls_score.out_features"),
    "min_size": Option(int | tuple[int, ...], "transform.min_size"),
    "max_size": Option(int, "transform.max_size"),
    "image_mean": Option(_NUMBERS, "transform.image_mean"),
    "image_std": Option(_NUMBERS, "transform.image_std"),
    "rpn_pre_nms_top_n_train": Option(int, "rpn._pre_nms_top_n.training"),
    "rpn_pre_nms_top_n_test": Option(int, "rpn._pre_nms_top_n.testing"),
    "rpn_post_nms_top_n_train": Option(int, "rpn._post_nms_top_n.training"),
    "rpn_post_nms_top_n_test": Option(int, "rpn._post_nms_top_n.testing"),
    "rpn_nms_thresh": Option(float, "rpn.nms_thresh"),
    "rpn_score_thresh": Option(float, "rpn.score_thresh"),
    "rpn_fg_iou_thresh": Option(float, "rpn.proposal_matcher.high_threshold"),
    "rpn_bg_iou_thresh": Option(float, "rpn.proposal_matcher.low_threshold"),
    "rpn_batch_size_per_image": Option(int, "rpn.fg_bg_sampler.batch_size_per_image"),
    "rpn_positive_fraction": Option(float, "rpn.fg_bg_sampler.positive_fraction"),
    "box_score_thresh": Option(float, "roi_heads.score_thresh"),
    "box_nms_thresh": Option(float, "roi_heads.nms_thresh"),
    "box_detections_per_img": Option(int, "roi_heads.detections_per_img"),
    "box_fg_iou_thresh": Option(float, "roi_heads.proposal_matcher.high_threshold"),
    "box_bg_iou_thresh": Option(float, "roi_heads.proposal_matcher.low_threshold"),
    "box_batch_size_per_image": Option(int, "roi_heads.fg_bg_sampler.batch_size_per_image"),
    "box_positive_fraction": Option(float, "roi_heads.fg_bg_sampler.positive_fraction"),
    "bbox_reg_weights": Option(_NUMBERS, "roi_heads.box_coder.weights"),
}

#: The same of torchvision's RetinaNet and FCOS.
SINGLE_STAGE: dict[str, Option] = {
    "num_classes": Option(int, "head.classification_head.num_classes"),
    **{name: OPTIONS[name] for name in ("min_size", "max_size", "image_mean", "image_std")},
    "score_thresh": Option(float, "score_thresh"),
    "nms_thresh": Option(float, "nms_thresh"),
    "detections_per_img": Option(int, "detections_per_img"),
    "topk_candidates": Option(int, "topk_candidates"),
}


def options_of(model: nn.Module, options: Mapping[str, Option]) -> dict[str, Any]:
    """Every one of ``options`` as ``model`` has it.

    Raises:
        AttributeError: a model that is built otherwise.
    """
    return {name: _at(model, option.path) for name, option in options.items()}


def detector_options(model: nn.Module) -> dict[str, Any]:
    """Every option of :data:`OPTIONS` as ``model`` has it, its ``conventions``, ``channels`` and ``anchor_scale``.

    Raises:
        AttributeError: a model that is built otherwise.

    Example:
        >>> from gcnet.models import mask_rcnn, resnet50
        >>> detector_options(mask_rcnn(resnet50(device="meta"), 7, box_nms_thresh=0.3))["box_nms_thresh"]
        0.3
    """
    return options_of(model, OPTIONS) | {
        "conventions": conventions_of(model),
        "channels": _at(model, "backbone.out_channels"),
        "anchor_scale": _at(model, "rpn.anchor_generator.sizes")[0][0] / STRIDES[0],
    }


def _at(model: nn.Module, path: str) -> Any:
    value: Any = model
    for name in path.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value
