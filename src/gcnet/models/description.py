"""Reading off a built network what it may have been built with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.resnet import ResNet

from gcnet.insertion.attach import original_class
from gcnet.models.classifiers import BLOCKS, NORMS, output_stride_of
from gcnet.models.detector_options import OPTIONS, SINGLE_STAGE, detector_options, options_of
from gcnet.models.detectors import STAGES
from gcnet.models.factories import SEGMENTATION, torchvision_names
from gcnet.models.sameness import block_paths, without
from gcnet.models.segmenters import HEADS, segmenter_options


def candidates(model: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and options of the hosts that ``model`` may be, read off it; see :class:`gcnet.models.hosts.Host`."""
    for describe in (_ours, _named):
        try:
            yield from describe(model, original_class(model))
        except (AttributeError, LookupError, StopIteration, TypeError):
            continue  # it only looks like one of these


def _ours(model: Any, kind: type[nn.Module]) -> Iterator[tuple[str, dict[str, Any]]]:
    if kind is ResNet:
        yield _resnet(model)
    elif kind in (MaskRCNN, FasterRCNN):
        body = {"name": "resnet", "options": _resnet_options(model.backbone.body, 0)}
        yield "mask_rcnn" if kind is MaskRCNN else "faster_rcnn", {"backbone": body, **detector_options(model)}
    elif kind in HEADS.values():
        body = {"name": "resnet", "options": _resnet_options(model.backbone, 0)}
        yield "segmenter", {"backbone": body, **segmenter_options(model)}


def _named(model: Any, kind: type[nn.Module]) -> Iterator[tuple[str, dict[str, Any]]]:
    if hasattr(model, "pretrained_cfg"):
        yield f"timm:{model.pretrained_cfg['architecture']}", _timm_options(model)
    elif kind.__module__.startswith("torchvision."):
        size = sum(parameter.numel() for parameter in model.parameters())
        for name in torchvision_names(kind, size):
            yield f"torchvision:{name}", _torchvision_options(name, model)


def _resnet(model: Any) -> tuple[str, dict[str, Any]]:
    flat = _resnet_options(model, getattr(model.fc, "out_features", 0))
    if isinstance(model.conv1, nn.Conv2d):
        return "resnet", flat
    kernels = {
        path: module.kernel_size[0]
        for path, module in without(block_paths(model), dict(model.named_modules())).items()
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] != 1
    }
    pools = {
        stage: pool.kernel_size[0] for stage in STAGES if (pool := getattr(model, stage)._modules.get("time_pool"))
    }
    return "inflated", {"of": {"name": "resnet", "options": flat}, "time_kernel": kernels, "time_pool": pools}


def _resnet_options(net: Any, num_classes: int) -> dict[str, Any]:
    """Options of :func:`gcnet.models.classifiers.resnet`, off the stages of a classifier or of a detector's body."""
    first = net.layer1[0]
    block = next(name for name, kind in BLOCKS.items() if original_class(first) is kind)
    bottleneck = block == "bottleneck"
    groups = first.conv2.groups if bottleneck else 1
    frozen = type(net.bn1) is NORMS["frozen_batch"]
    width = net.conv1.out_channels
    return {
        "depths": tuple(sum(name.isdigit() for name in getattr(net, stage)._modules) for stage in STAGES),
        "block": block,
        "num_classes": num_classes,
        "groups": groups,
        **({} if width == 64 else {"width": width}),
        "width_per_group": first.conv1.out_channels // groups * 64 // width if bottleneck else 64,
        "stride_in_1x1": bottleneck and net.layer2[0].conv1.stride[-1] != 1,
        "output_stride": output_stride_of(net),
        "norm": "frozen_batch" if frozen else "batch",
        "norm_eps": net.bn1.eps,
    }


def _timm_options(model: Any) -> dict[str, Any]:
    first = model.pretrained_cfg.get("first_conv")
    options = {"num_classes": model.num_classes}
    if isinstance(first, str):
        conv = model.get_submodule(first)
        options["in_chans"] = conv.in_channels
    return options


def _torchvision_options(name: str, model: Any) -> dict[str, Any]:
    if name in SEGMENTATION:
        has_auxiliary = getattr(model, "aux_classifier", None) is not None
        last = [module for module in model.classifier.modules() if isinstance(module, nn.Conv2d)][-1]
        return {"num_classes": last.out_channels} | ({"aux_loss": True} if has_auxiliary else {})
    if hasattr(model, "roi_heads"):
        return options_of(model, OPTIONS)
    if hasattr(model, "topk_candidates") and hasattr(model.head.classification_head, "num_classes"):
        return options_of(model, SINGLE_STAGE)
    layers = [
        module
        for module in without(block_paths(model), dict(model.named_modules())).values()
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d)  # the last one of SqueezeNet and S3D is a convolution
    ]
    return {"num_classes": layers[-1].weight.shape[0]} if layers else {}
