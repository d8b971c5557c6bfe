"""The detector of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor
from torchvision.models.detection import FasterRCNN

from gcnet.checkpoints.load import load
from gcnet.models.detectors import conventions_of, faster_rcnn, mask_rcnn
from gcnet.training.backbones import RUN_PREFIX, is_download, read_weights
from gcnet.training.detection.config import DetectionConfig
from gcnet.training.distributed import is_first
from gcnet.training.network import check_runs, classifier

_MASKS = "roi_heads.mask_"  # head and last layers of masks
_LAST = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.")


def build_detector(config: DetectionConfig, classes: int) -> FasterRCNN:
    """Mask R-CNN or Faster R-CNN over the backbone with its weights and blocks; tried on a small image.

    Args:
        config: of the training.
        classes: without the background.

    Raises:
        ValueError: a backbone that has no pyramid or does not run; weights that do not fit.
    """
    whole = _whole_detector(config)
    backbone = classifier(config if whole is None else dataclasses.replace(config, weights=None), classes=1000)
    make = mask_rcnn if config.masks else faster_rcnn
    try:
        net = make(
            backbone,
            classes + 1,
            conventions=config.conventions,
            channels=config.channels,
            anchor_scale=config.anchor_scale,
            min_size=config.image_size,
            max_size=config.max_size,
            rpn_post_nms_top_n_train=2 * config.proposals,
            rpn_post_nms_top_n_test=config.proposals,
            box_batch_size_per_image=config.rois,
            box_score_thresh=config.score_threshold,
            box_detections_per_img=config.max_detections,
        )
    except TypeError as error:
        raise ValueError(f"backbone={config.backbone!r}: {error}") from error
    if whole is not None:
        _load_whole(net, whole, config)
    check_runs(net.backbone, (1, 3, 128, 128), f"backbone={config.backbone!r}")
    return net


def _whole_detector(config: DetectionConfig) -> Mapping[str, Tensor] | None:
    """The tensors of ``weights`` with torchvision's names, if that is the file of a whole detector."""
    if config.weights is None or is_download(config.weights):
        return None
    contents = read_weights(config.weights)
    tensors = {key.removeprefix(RUN_PREFIX): value for key, value in contents.tensors.items()}
    if "gcnet" not in contents.metadata and any(key.startswith("rpn.") for key in tensors):
        return tensors
    if not any(key.startswith(("rpn.", "rpn_head.")) for key in tensors):
        return None
    detector = load(config.weights)
    if conventions_of(detector) != config.conventions:
        raise ValueError(
            f"conventions={config.conventions!r}: {config.weights} was trained with those of {conventions_of(detector)}"
        )
    return detector.state_dict()


def _load_whole(net: FasterRCNN, tensors: Mapping[str, Tensor], config: DetectionConfig) -> None:
    """Load a detector; blocks that the file lacks, a head of masks and last layers for other classes stay new."""
    own = net.state_dict()
    unknown = [key for key in tensors if key not in own and not (key.startswith(_MASKS) and not config.masks)]
    unfit = [key for key, value in own.items() if key not in tensors or tensors[key].shape != value.shape]
    lacking = [key for key in unfit if key not in tensors and (key.startswith(_MASKS) or ".context_block" in key)]
    wrong = [key for key in unfit if not key.startswith(_LAST) and key not in lacking]
    if wrong or unknown:
        detail = f"{wrong[0]} is missing or has another shape" if wrong else f"{unknown[0]} is not part of the network"
        raise ValueError(
            f"weights={config.weights}: {len(wrong) + len(unknown)} names do not fit the detector; {detail}"
        )
    net.load_state_dict({key: tensors[key] for key in own if key not in unfit}, strict=False)
    if unfit and is_first():
        print(f"not in {config.weights}, stay new: {', '.join(dict.fromkeys(key.rpartition('.')[0] for key in unfit))}")
