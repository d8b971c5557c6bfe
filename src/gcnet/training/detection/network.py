"""The detector of a configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

from gcnet.checkpoints.load import load
from gcnet.models.detectors import faster_rcnn, mask_rcnn
from gcnet.models.sameness import block_paths
from gcnet.training.detection.config import DetectionConfig
from gcnet.training.network import apply_norm_and_frozen, classifier, insert_blocks


def build_detector(config: DetectionConfig, classes: int) -> FasterRCNN:
    """Mask R-CNN or Faster R-CNN over the backbone with its weights and blocks; tried on a small image.

    Args:
        config: of the training.
        classes: without the background.

    Raises:
        ValueError: a backbone that has no pyramid or does not run; a detector file that is none or does not fit.
    """
    options = _options(config)
    if config.detector is not None:
        net = _from_file(config, classes, options)
    else:
        make = mask_rcnn if config.masks else faster_rcnn
        options |= {"channels": config.channels, "anchor_scale": config.anchor_scale, "conventions": config.conventions}
        try:
            net = make(classifier(config, classes=1000), classes + 1, **options)
        except TypeError as error:
            raise ValueError(f"backbone={config.backbone!r}: {error}") from error
    _check_runs(net, config)
    return net


def _options(config: DetectionConfig) -> dict[str, Any]:
    """Options of torchvision's detectors."""
    return {
        "min_size": config.image_size,
        "max_size": config.max_size,
        "rpn_post_nms_top_n_train": 2 * config.proposals,
        "rpn_post_nms_top_n_test": config.proposals,
        "box_batch_size_per_image": config.rois,
        "box_score_thresh": config.score_threshold,
        "box_detections_per_img": config.max_detections,
    }


def _from_file(config: DetectionConfig, classes: int, options: dict[str, Any]) -> FasterRCNN:
    """The detector of a file; layers for other classes are new."""
    try:
        net: Any = load(str(config.detector))
    except ValueError as error:
        reason = str(error).removeprefix(f"{config.detector}: ")
        raise ValueError(f"detector={config.detector}: {reason}") from error
    wanted = MaskRCNN if config.masks else FasterRCNN
    if not isinstance(net, wanted) or (isinstance(net, MaskRCNN) and not config.masks):
        raise ValueError(
            f"detector={config.detector}: is a {type(net).__name__}, but masks={config.masks} trains a "
            f"{wanted.__name__}"
        )
    present = block_paths(net)
    if present and config.block != "none":
        raise ValueError(
            f"block={config.block!r}: detector={config.detector} has {len(present)} blocks already; block='none' keeps "
            "them"
        )
    heads = net.roi_heads
    if heads.box_predictor.cls_score.out_features != classes + 1:
        heads.box_predictor = FastRCNNPredictor(heads.box_predictor.cls_score.in_features, classes + 1)
        if config.masks:
            last: nn.ConvTranspose2d = heads.mask_predictor.conv5_mask
            heads.mask_predictor = MaskRCNNPredictor(last.in_channels, last.out_channels, classes + 1)
    insert_blocks(net.backbone.body, config)
    apply_norm_and_frozen(net.backbone.body, config)
    net.transform.min_size, net.transform.max_size = options["min_size"], options["max_size"]
    net.rpn._post_nms_top_n = {"training": 2 * config.proposals, "testing": config.proposals}
    heads.fg_bg_sampler.batch_size_per_image = config.rois
    heads.score_thresh, heads.detections_per_img = config.score_threshold, config.max_detections
    return net.train()


def _check_runs(net: FasterRCNN, config: DetectionConfig) -> None:
    net.eval()
    try:
        with torch.no_grad():
            net.backbone(torch.zeros(1, 3, 128, 128))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"backbone={config.backbone!r} does not run on images of 128 pixels ({reason})") from error
    finally:
        net.train()
