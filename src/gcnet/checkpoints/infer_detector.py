"""Reading the architecture of a Mask R-CNN off the names and shapes of our tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gcnet.checkpoints.infer import resnet_host
from gcnet.models.hosts import Host

BODY = "backbone.body."
#: Means of caffe's images, red first, of 255; they are not divided by a deviation.
CAFFE_MEANS = {"mmdetection1": (122.7717, 115.9465, 102.9801), "mmdetection2": (123.675, 116.28, 103.53)}
_HEADS = "roi_heads."


def mask_rcnn_host(tensors: Mapping[str, Tensor], style: str, conventions: str) -> Host:
    """The Mask R-CNN whose state dict this is.

    Args:
        tensors: state dict with torchvision's names, blocks left aside.
        style: of the body, as for :func:`resnet_host`; ``"caffe"`` also has the images normalised as caffe does.
        conventions: as for :func:`gcnet.models.mask_rcnn`.

    Raises:
        ValueError: no ResNet as the body; a head of another make.

    Example:
        >>> from gcnet.models import mask_rcnn, resnet101
        >>> host = mask_rcnn_host(mask_rcnn(resnet101(device="meta")).state_dict(), "pytorch", "mmdetection2")
        >>> host.options["num_classes"], host.options["backbone"]["options"]["depths"]
        (81, (3, 4, 23, 3))
    """
    body = resnet_host({key[len(BODY) :]: value for key, value in tensors.items() if key.startswith(BODY)}, style)
    if body is None:
        raise ValueError(f"{BODY}*: not a ResNet with four stages, which is the only body of a Mask R-CNN here")
    classes = _rows(tensors, "box_predictor.cls_score")
    for name, expected, usual in (
        ("box_predictor.bbox_pred", 4 * classes, "four for every class (class-agnostic boxes have four in all)"),
        ("mask_predictor.mask_fcn_logits", classes, "one for every class (class-agnostic masks have one in all)"),
    ):
        if _rows(tensors, name) != expected:
            raise ValueError(f"{_HEADS}{name} has {_rows(tensors, name)} outputs; supported are {expected}, {usual}")
    options: dict[str, object] = {"num_classes": classes, "conventions": conventions}
    if style == "caffe":
        options["image_mean"] = tuple(mean / 255 for mean in CAFFE_MEANS[conventions])
        options["image_std"] = (1 / 255,) * 3
    return Host("mask_rcnn", {"backbone": body.to_dict(), **options})


def _rows(tensors: Mapping[str, Tensor], name: str) -> int:
    key = f"{_HEADS}{name}.weight"
    if key not in tensors:
        raise ValueError(f"{key} is missing: supported is a Mask R-CNN with a box head (2fc) and a mask head")
    return tensors[key].shape[0]
