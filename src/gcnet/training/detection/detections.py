"""What a detector finds in images, as compact arrays and in COCO's format of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from faster_coco_eval.core import mask as rle
from numpy.typing import NDArray
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import resize_boxes

from gcnet.files import whole_file
from gcnet.training.detection.coco import CocoAnnotations

_TOGETHER = 8  # masks pasted at once: whole images of floats


class Detections(NamedTuple):
    """What was found in one image, the surest first.

    Attributes:
        boxes: float32 [D, 4], x1, y1, x2, y2 in pixels of the image as it was given.
        labels: int64 [D], from 1.
        scores: float32 [D].
        masks: COCO's compressed run lengths, or None for a detector without masks.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    masks: list[bytes] | None


@torch.no_grad()
def detect(net: FasterRCNN, images: Sequence[Tensor]) -> list[Detections]:
    """Run a detector in evaluation mode; masks are pasted a few at a time, so that large images fit into memory.

    Args:
        net: torchvision Faster R-CNN or Mask R-CNN.
        images: [3, H, W] uint8, on the device of the network.

    Example:
        >>> from torchvision.models import resnet18
        >>> from gcnet.models import mask_rcnn
        >>> net = mask_rcnn(resnet18(), 3, min_size=64, channels=16, box_score_thresh=0.0, box_detections_per_img=5)
        >>> (found,) = detect(net.eval(), [torch.zeros(3, 48, 60, dtype=torch.uint8)])
        >>> found.boxes.shape[1], len(found.masks) == len(found.scores) <= 5
        (4, True)
    """
    batch, _ = net.transform([to_float(image, net) for image in images])
    features = net.backbone(batch.tensors)
    proposals, _ = net.rpn(batch, features)
    found, _ = net.roi_heads(features, proposals, batch.image_sizes)
    result = []
    for image, size, each in zip(images, batch.image_sizes, found, strict=True):
        height, width = image.shape[-2:]
        boxes = resize_boxes(each["boxes"].float(), list(size), [height, width])
        masks = _encode(each["masks"].float(), boxes, height, width) if "masks" in each else None
        boxes, labels, scores = (values.cpu().numpy() for values in (boxes, each["labels"], each["scores"].float()))
        result.append(Detections(boxes, labels, scores, masks))
    return result


def to_float(image: Tensor, net: FasterRCNN) -> Tensor:
    """uint8 to values between 0 and 1 in the dtype of the network."""
    return image.to(next(net.parameters()).dtype) / 255


def _encode(masks: Tensor, boxes: Tensor, height: int, width: int) -> list[bytes]:
    """Probabilities [D, 1, M, M] inside of boxes to masks of the image, as run lengths."""
    encoded: list[bytes] = []
    for at in range(0, len(masks), _TOGETHER):
        pasted = paste_masks_in_image(masks[at : at + _TOGETHER], boxes[at : at + _TOGETHER], (height, width))
        binary = (pasted[:, 0] > 0.5).to(torch.uint8).cpu().numpy()
        encoded += [mask["counts"] for mask in rle.encode(np.asfortranarray(binary.transpose(1, 2, 0)))]
    return encoded


def coco_results(
    found: Detections, categories: Sequence[int], size: tuple[int, int], **also: Any
) -> list[dict[str, Any]]:
    """COCO's format of results, plain values: category_id, bbox (x, y, width, height), score, segmentation.

    Args:
        found: in one image.
        categories: id of each label, from label 1.
        size: height and width of the image.
        also: first entries of each result, such as ``image_id``.
    """
    corners = found.boxes.astype(np.float64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).round(3)
    results: list[dict[str, Any]] = []
    for number, (box, label, score) in enumerate(zip(boxes, found.labels, found.scores, strict=True)):
        result = {**also, "category_id": categories[label - 1], "bbox": box.tolist(), "score": float(score)}
        if found.masks is not None:
            result["segmentation"] = {"size": list(size), "counts": found.masks[number].decode()}
        results.append(result)
    return results


def write_results(path: Path, results: Sequence[dict[str, Any]]) -> Path:
    """Write results as JSON, one to a line; the file appears whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text("[\n" + ",\n".join(map(json.dumps, results)) + "\n]\n")
    return path


def ground_truth(coco: CocoAnnotations, index: int) -> Detections:
    """The objects of an image, crowds aside, as if they had been found with certainty."""
    numbers = coco.objects(index)
    masks = None if coco.masks is None else [coco.masks[number] for number in numbers]
    ones = np.ones(len(numbers), np.float32)
    return Detections(coco.corners(index, numbers), coco.labels[numbers], ones, masks)
