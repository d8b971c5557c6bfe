"""mmdetection's Mask R-CNN from the published definitions, on its own state dict: neither torchvision nor ours.

``version`` 1 counts pixels: boxes are [x1, y1, x2, y2] with width x2 - x1 + 1. Version 2 is continuous.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]
STRIDES = (4, 8, 16, 32, 64)
#: Logits without ties at 1, boxes that overlap the image.
FACTORS = {"rpn_cls": 0.1, "fc_cls": 0.1, "rpn_reg": 0.005, "fc_reg": 0.05}
NORM = ("weight", "bias", "running_mean", "running_var")


def detector_shapes(
    version: int,
    depths: tuple[int, ...],
    groups: int = 1,
    width: int = 64,
    reduction: int | None = 16,
    classes: int = 80,
) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a GCNet Mask R-CNN, blocks in the last three stages; ``classes`` without the background."""
    return dict(_shapes(version, depths, groups, width, reduction, classes))


def _norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from ((f"{name}.{leaf}", (channels,)) for leaf in NORM)
    yield f"{name}.num_batches_tracked", ()


def _with_bias(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from ((f"{name}.weight", shape), (f"{name}.bias", shape[:1]))


def _shapes(
    version: int, depths: tuple[int, ...], groups: int, width: int, reduction: int | None, classes: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "backbone.conv1.weight", (64, 3, 7, 7)
    yield from _norm("backbone.bn1", 64)
    before = 64
    for stage, depth in enumerate(depths):
        inner, channels = groups * width * 2**stage, 256 * 2**stage
        for block in range(depth):
            at = f"backbone.layer{stage + 1}.{block}"
            yield f"{at}.conv1.weight", (inner, before, 1, 1)
            yield f"{at}.conv2.weight", (inner, inner // groups, 3, 3)
            yield f"{at}.conv3.weight", (channels, inner, 1, 1)
            for index, size in ((1, inner), (2, inner), (3, channels)):
                yield from _norm(f"{at}.bn{index}", size)
            if block == 0:
                yield f"{at}.downsample.0.weight", (channels, before, 1, 1)
                yield from _norm(f"{at}.downsample.1", channels)
            if reduction and stage > 0:
                hidden, context = channels // reduction, f"{at}.context_block"
                yield from _with_bias(f"{context}.conv_mask", 1, channels, 1, 1)
                yield from _with_bias(f"{context}.channel_add_conv.0", hidden, channels, 1, 1)
                yield from ((f"{context}.channel_add_conv.1.{leaf}", (hidden, 1, 1)) for leaf in ("weight", "bias"))
                yield from _with_bias(f"{context}.channel_add_conv.3", channels, hidden, 1, 1)
            before = channels
    for level in range(4):
        yield from _with_bias(f"neck.lateral_convs.{level}.conv", 256, 256 * 2**level, 1, 1)
        yield from _with_bias(f"neck.fpn_convs.{level}.conv", 256, 256, 3, 3)
    yield from _with_bias("rpn_head.rpn_conv", 256, 256, 3, 3)
    yield from _with_bias("rpn_head.rpn_cls", 3, 256, 1, 1)
    yield from _with_bias("rpn_head.rpn_reg", 12, 256, 1, 1)
    head, rows = ("", classes + 1) if version == 1 else ("roi_head.", classes)
    yield from _with_bias(f"{head}bbox_head.fc_cls", classes + 1, 1024)
    yield from _with_bias(f"{head}bbox_head.fc_reg", 4 * rows, 1024)
    yield from _with_bias(f"{head}bbox_head.shared_fcs.0", 1024, 256 * 7 * 7)
    yield from _with_bias(f"{head}bbox_head.shared_fcs.1", 1024, 1024)
    for index in range(4):
        yield from _with_bias(f"{head}mask_head.convs.{index}.conv", 256, 256, 3, 3)
    yield f"{head}mask_head.upsample.weight", (256, 256, 2, 2)
    yield f"{head}mask_head.upsample.bias", (256,)
    yield from _with_bias(f"{head}mask_head.conv_logits", rows, 256, 1, 1)


def random_state(shapes: Mapping[str, tuple[int, ...]], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Weights with which every stage puts out values of the order of one; norms with statistics of their own."""
    state = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var") or (len(shape) in (1, 3) and name.endswith("weight")):
            state[name] = torch.rand(shape, dtype=dtype) + 0.5
        elif len(shape) > 1 and not name.endswith("bias"):
            factor = FACTORS.get(name.split(".")[-2], 1.0)
            state[name] = torch.randn(shape, dtype=dtype) * factor * math.sqrt(1.5 / math.prod(shape[1:]))
        else:
            state[name] = torch.randn(shape, dtype=dtype) * 0.1
    return state


def _conv(state: State, name: str, x: Tensor, **options: int) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def _bn(state: State, name: str, x: Tensor) -> Tensor:
    weight, bias, mean, var = (state[f"{name}.{leaf}"][:, None, None] for leaf in NORM)
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def _context(state: State, name: str, x: Tensor) -> Tensor:
    attention = _conv(state, f"{name}.conv_mask", x).flatten(2).softmax(2)
    context = (x.flatten(2) @ attention.mT)[..., None]
    hidden = _conv(state, f"{name}.channel_add_conv.0", context)
    centred = hidden - hidden.mean(1, keepdim=True)
    hidden = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    hidden = hidden * state[f"{name}.channel_add_conv.1.weight"] + state[f"{name}.channel_add_conv.1.bias"]
    return x + _conv(state, f"{name}.channel_add_conv.3", hidden.relu())


def backbone(state: State, x: Tensor, groups: int = 1) -> list[Tensor]:
    """Normalised image to C2 to C5."""
    x = _bn(state, "backbone.bn1", _conv(state, "backbone.conv1", x, stride=2, padding=3)).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    outputs = []
    for stage in range(1, 5):
        block = 0
        while f"backbone.layer{stage}.{block}.conv1.weight" in state:
            at, stride = f"backbone.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = _bn(state, f"{at}.bn1", _conv(state, f"{at}.conv1", x)).relu()
            y = _bn(state, f"{at}.bn2", _conv(state, f"{at}.conv2", y, stride=stride, padding=1, groups=groups)).relu()
            y = _bn(state, f"{at}.bn3", _conv(state, f"{at}.conv3", y))
            if f"{at}.context_block.conv_mask.weight" in state:
                y = _context(state, f"{at}.context_block", y)
            if block == 0:
                x = _bn(state, f"{at}.downsample.1", _conv(state, f"{at}.downsample.0", x, stride=stride))
            x, block = (x + y).relu(), block + 1
        outputs.append(x)
    return outputs


def pyramid(state: State, stages: list[Tensor]) -> list[Tensor]:
    """C2 to C5 to P2 to P6."""
    laterals = [_conv(state, f"neck.lateral_convs.{level}.conv", x) for level, x in enumerate(stages)]
    for level in (2, 1, 0):
        laterals[level] = laterals[level] + laterals[level + 1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    outputs = [_conv(state, f"neck.fpn_convs.{level}.conv", x, padding=1) for level, x in enumerate(laterals)]
    return [*outputs, outputs[-1][:, :, ::2, ::2]]


def rpn(state: State, level: Tensor) -> tuple[Tensor, Tensor]:
    """One level to logits [N, 3, H, W] and deltas [N, 12, H, W]."""
    x = _conv(state, "rpn_head.rpn_conv", level, padding=1).relu()
    return _conv(state, "rpn_head.rpn_cls", x), _conv(state, "rpn_head.rpn_reg", x)


def anchors(version: int, stride: int, height: int, width: int) -> Tensor:
    """Anchors [height width 3, 4] of a level, in the boxes of the version."""
    boxes = []
    for row in range(height):
        for column in range(width):
            for ratio in (0.5, 1.0, 2.0):
                h, w = 8 * stride * math.sqrt(ratio), 8 * stride / math.sqrt(ratio)
                if version == 1:
                    centre = (stride - 1) / 2
                    corners = [centre - (w - 1) / 2, centre - (h - 1) / 2, centre + (w - 1) / 2, centre + (h - 1) / 2]
                    corners = [float(round(corner)) for corner in corners]
                else:
                    corners = [-w / 2, -h / 2, w / 2, h / 2]
                x, y = column * stride, row * stride
                boxes.append([corners[0] + x, corners[1] + y, corners[2] + x, corners[3] + y])
    return torch.tensor(boxes, dtype=torch.float64)


def decode(version: int, boxes: Tensor, deltas: Tensor, stds: tuple[float, ...], size: tuple[int, int]) -> Tensor:
    """Boxes [R, 4] and deltas [R, 4] to boxes [R, 4], clipped to the image (height, width)."""
    one = 2 - version
    dx, dy, dw, dh = (deltas * deltas.new_tensor(stds)).unbind(1)
    bound = abs(math.log(16 / 1000))
    width, height = boxes[:, 2] - boxes[:, 0] + one, boxes[:, 3] - boxes[:, 1] + one
    x = (boxes[:, 0] + boxes[:, 2]) / 2 + width * dx
    y = (boxes[:, 1] + boxes[:, 3]) / 2 + height * dy
    width, height = width * dw.clamp(-bound, bound).exp(), height * dh.clamp(-bound, bound).exp()
    half = one / 2
    corners = (x - width / 2 + half, y - height / 2 + half, x + width / 2 - half, y + height / 2 - half)
    limits = (size[1] - one, size[0] - one) * 2
    return torch.stack([corner.clamp(0, limit) for corner, limit in zip(corners, limits, strict=True)], 1)


def nms(version: int, boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Indices that remain, best first."""
    one, kept = 2 - version, []
    area = (boxes[:, 2] - boxes[:, 0] + one) * (boxes[:, 3] - boxes[:, 1] + one)
    left = scores.argsort(descending=True)
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        low, high = torch.maximum(boxes[best, :2], boxes[rest, :2]), torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        overlap = (high - low + one).clamp(min=0).prod(1)
        left = rest[overlap / (area[best] + area[rest] - overlap) <= threshold]
    return kept


def proposals(version: int, state: State, levels: list[Tensor], size: tuple[int, int], count: int) -> Tensor:
    """The best ``count`` boxes over all levels, after 1000 per level and NMS of 0.7 within each."""
    boxes, scores = [], []
    for level, stride in zip(levels, STRIDES, strict=True):
        logits, deltas = rpn(state, level)
        logits = logits[0].permute(1, 2, 0).flatten()
        deltas = deltas[0].permute(1, 2, 0).reshape(-1, 4)
        best = logits.argsort(descending=True)[:1000]
        decoded = decode(version, anchors(version, stride, *level.shape[2:])[best], deltas[best], (1.0,) * 4, size)
        kept = nms(version, decoded, logits[best], 0.7)
        boxes.append(decoded[kept])
        scores.append(logits[best][kept])
    best = torch.cat(scores).argsort(descending=True)[:count]
    return torch.cat(boxes)[best]


def _axis(start: float, length: float, bins: int, samples: int, size: int) -> Tensor:
    """Bilinear weights [bins, size] of one axis: the mean over the samples of a bin, zero beyond a pixel outside."""
    at = start + length / bins * (torch.arange(bins * samples, dtype=torch.float64) + 0.5) / samples
    hats = (1 - (at.clamp(0, size - 1)[:, None] - torch.arange(size)).abs()).clamp(min=0)
    return (hats * ((at >= -1) & (at <= size))[:, None]).unflatten(0, (bins, samples)).mean(1)


def roi_align(version: int, levels: list[Tensor], rois: Tensor, bins: int) -> Tensor:
    """RoIs [R, 4] of the first image to [R, C, bins, bins], each off its level."""
    one, shift = 2 - version, 0.5 * (version - 1)
    pooled = []
    for x1, y1, x2, y2 in rois.tolist():
        area = (x2 - x1 + one) * (y2 - y1 + one)
        level = min(max(math.floor(math.log2(math.sqrt(area) / 56 + 1e-6)), 0), 3)
        weights = []
        for low, high, size in ((y1, y2, levels[level].shape[2]), (x1, x2, levels[level].shape[3])):
            length = (high + one - low) / STRIDES[level]
            samples = 2 if version == 1 else max(math.ceil(length / bins), 1)
            weights.append(_axis(low / STRIDES[level] - shift, length, bins, samples, size))
        pooled.append(weights[0] @ levels[level][0] @ weights[1].T)
    return torch.stack(pooled)


def _head(version: int, state: State, name: str) -> tuple[Tensor, Tensor]:
    prefix = "" if version == 1 else "roi_head."
    return state[f"{prefix}{name}.weight"], state[f"{prefix}{name}.bias"]


def box_head(version: int, state: State, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Pooled [R, 256, 7, 7] to class logits and deltas in the order of the version."""
    x = pooled.flatten(1)
    for index in range(2):
        x = F.linear(x, *_head(version, state, f"bbox_head.shared_fcs.{index}")).relu()
    classes, boxes = (_head(version, state, f"bbox_head.{name}") for name in ("fc_cls", "fc_reg"))
    return F.linear(x, *classes), F.linear(x, *boxes)


def mask_head(version: int, state: State, pooled: Tensor) -> Tensor:
    """Pooled [R, 256, 14, 14] to mask logits [R, classes, 28, 28] in the order of the version."""
    for index in range(4):
        pooled = F.conv2d(pooled, *_head(version, state, f"mask_head.convs.{index}.conv"), padding=1).relu()
    weight, bias = _head(version, state, "mask_head.upsample")
    up = torch.einsum("rchw,cdyx->rdhywx", pooled, weight).flatten(4, 5).flatten(2, 3) + bias[:, None, None]
    return F.conv2d(up.relu(), *_head(version, state, "mask_head.conv_logits"))


def detections(
    version: int, state: State, levels: list[Tensor], rois: Tensor, size: tuple[int, int], count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best boxes, scores and labels (classes from 0) over 0.05, after NMS of 0.5 within each class."""
    logits, deltas = box_head(version, state, roi_align(version, levels, rois, 7))
    probabilities, first = logits.softmax(1), 2 - version
    boxes, scores, labels = [], [], []
    for label in range(logits.shape[1] - 1):
        row = label + first
        chosen = probabilities[:, row] > 0.05
        stds = (0.1, 0.1, 0.2, 0.2)
        decoded = decode(version, rois, deltas[:, 4 * row : 4 * row + 4], stds, size)[chosen]
        kept = nms(version, decoded, probabilities[chosen, row], 0.5)
        boxes.append(decoded[kept])
        scores.append(probabilities[chosen, row][kept])
        labels.append(torch.full((len(kept),), label))
    best = torch.cat(scores).argsort(descending=True)[:count]
    return torch.cat(boxes)[best], torch.cat(scores)[best], torch.cat(labels)[best]
