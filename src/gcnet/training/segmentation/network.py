"""The network that a configuration describes, and its prediction for whole images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import ResNet

from gcnet.models.classifiers import dilate
from gcnet.models.segmenters import segmenter
from gcnet.training.backbones import RUN_PREFIX, is_download, read_weights
from gcnet.training.network import check_runs, classifier, insert_blocks, load_file
from gcnet.training.norms import synchronise_norms
from gcnet.training.segmentation.config import SegmentationConfig
from gcnet.training.segmentation.scene_net import SceneNet


def build_network(config: SegmentationConfig, classes: int) -> nn.Module:
    """FCN or DeepLabV3 on a dilated ResNet, or :class:`SceneNet`, with blocks; tried on one image of the crop's size.

    Weights may be of the ResNet alone, or of a whole network of this kind.

    Args:
        config: backbone, weights, blocks, norms and frozen stages; head.
        classes: labels per pixel.

    Raises:
        ValueError: a backbone that is no ResNet of torchvision; weights or blocks that do not fit; a size that does not
            run.
    """
    whole = config.backbone == "scene_net" or _is_whole(config.weights)
    if config.backbone == "scene_net":
        net: nn.Module = SceneNet(classes)
        insert_blocks(net, config)
    else:
        body = classifier(replace(config, weights=None) if whole else config, 1000)
        if not isinstance(body, ResNet):
            raise ValueError(f"backbone={config.backbone!r}: head={config.head!r} stands on ResNets of torchvision")
        dilate(body, config.output_stride)
        net = segmenter(body, classes, head=config.head, auxiliary=config.auxiliary > 0)
    if whole and config.weights is not None:
        load_file(net, config.weights)
    if config.norm == "sync":
        synchronise_norms(net)
    check_runs(net, (1, 3, *config.crop_size), f"crop_size={config.crop_size}")
    return net


def _is_whole(weights: str | None) -> bool:
    """Whether a file is of a network with a head for segmentation."""
    if weights is None or is_download(weights):
        return False
    names = [name.removeprefix(RUN_PREFIX) for name in read_weights(weights).tensors]
    return all(any(name.startswith(part) for name in names) for part in ("backbone.", "classifier."))


def logits_of(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Logits [N, classes, H, W] under ``"out"``, those of an auxiliary head under ``"aux"``."""
    output = net(images)
    return {"out": output} if isinstance(output, Tensor) else output


def predict_logits(net: nn.Module, images: Tensor, config: SegmentationConfig) -> Tensor:
    """Logits [N, classes, H, W], from the images as a whole or as the mean over windows, as configured."""
    if config.window is None:
        return logits_of(net, images)["out"]
    size = tuple(images.shape[2:])
    counts = images.new_zeros(size)
    for number, (rows, columns) in enumerate(windows(size, config.window, config.stride)):
        part = logits_of(net, images[..., rows, columns])["out"]
        if number == 0:
            total = part.new_zeros(*part.shape[:2], *size)
        total[..., rows, columns] += part
        counts[rows, columns] += 1
    return total / counts


def windows(size: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of windows that cover an image; the last ones end where it ends.

    Example:
        >>> [(rows.start, columns.start) for rows, columns in windows((4, 10), (4, 6), (4, 3))]
        [(0, 0), (0, 3), (0, 4)]
    """
    height, width = (min(extent, whole) for extent, whole in zip(window, size, strict=True))
    for top in _starts(size[0], height, stride[0]):
        for left in _starts(size[1], width, stride[1]):
            yield slice(top, top + height), slice(left, left + width)


def _starts(whole: int, extent: int, stride: int) -> list[int]:
    return [*range(0, whole - extent, stride), whole - extent]


def at_size(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Logits [N, classes, *] interpolated to ``size``, if they have another."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
