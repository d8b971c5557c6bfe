"""What mmdetection computes differently from torchvision's Mask R-CNN, as parts for torchvision's.

Boxes are continuous here, [x1, y1, x2, y2] with width x2 - x1. mmdetection 1.x and the official GCNet repository count
pixels: their width is x2 - x1 + 1. With x2 + 1 in place of their x2, their coder, overlap, pyramid level and RoIAlign
are the continuous ones, and only the anchors and the sampling differ. Sources: the documentation of mmdetection,
"Compatibility with MMDetection 1.x", and the released code of both versions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, roi_align

CONVENTIONS = ("torchvision", "mmdetection1", "mmdetection2")
STRIDES = (4, 8, 16, 32, 64)


class PyramidAnchors(AnchorGenerator):
    """Anchors of so many strides, heights to widths 1/2, 1 and 2, on the strides of the pyramid itself.

    torchvision rounds them and divides the image by the size of a level, so that its P6 stride is 61 at 800 pixels.
    mmdetection 2.x centres them at multiples of the stride, unrounded; 1.x half a stride further, and rounds corners.

    Args:
        legacy: as in 1.x.
        scale: side of a square anchor in strides of its level.
    """

    def __init__(self, legacy: bool, scale: float = 8) -> None:
        super().__init__(*shapes(scale))
        self.legacy = legacy
        self.cell_anchors = [self._cell(stride) for stride in STRIDES]

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Anchors [A, 4] of every image, level by level, row by row, ratio by ratio."""
        first = feature_maps[0]
        self.set_cell_anchors(first.dtype, first.device)
        strides = [[torch.tensor(stride, device=first.device)] * 2 for stride in STRIDES]
        anchors = torch.cat(self.grid_anchors([list(map_.shape[-2:]) for map_ in feature_maps], strides))
        return [anchors] * len(image_list.image_sizes)

    def _cell(self, stride: int) -> Tensor:
        side = self.sizes[STRIDES.index(stride)][0]
        heights = side * torch.tensor(self.aspect_ratios[0], dtype=torch.float64, device="cpu").sqrt()
        halves = torch.stack([side**2 / heights, heights], 1) / 2
        cell = torch.cat([-halves, halves], 1)
        return (cell + stride / 2).round() if self.legacy else cell


class PyramidRoIAlign(MultiScaleRoIAlign):
    """RoIAlign on the level floor(log2(sqrt(area) / 56 + 1e-6)) of P2 to P5, [R, C, size, size].

    mmdetection 2.x aligns half a pixel further left than 1.x and takes as many samples as a bin has pixels, 1.x two by
    two. Unlike torchvision's unaligned form, 1.x lets a box be narrower than a pixel of its level.

    Args:
        output_size: bins per axis.
        legacy: as in 1.x.
    """

    def __init__(self, output_size: int, legacy: bool) -> None:
        super().__init__(["0", "1", "2", "3"], output_size, sampling_ratio=2 if legacy else 0)
        self.legacy = legacy

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:
        """Levels by name, boxes [R_i, 4] per image; the sizes of the images are not needed."""
        maps = [x[name] for name in self.featmap_names]
        every = torch.cat(boxes)
        image = torch.cat([box.new_full((len(box), 1), i) for i, box in enumerate(boxes)])
        scale = ((every[:, 2] - every[:, 0]) * (every[:, 3] - every[:, 1])).sqrt()
        levels = torch.log2(scale / 56 + 1e-6).floor().clamp(0, len(maps) - 1)
        pooled = maps[0].new_zeros(len(every), maps[0].shape[1], *self.output_size)
        for level, (map_, stride) in enumerate(zip(maps, STRIDES, strict=False)):
            rows = torch.where(levels == level)[0]
            shifted = every[rows] + (stride / 2 if self.legacy else 0)  # undoes the half pixel of aligned=True
            rois = torch.cat([image[rows], shifted], 1).to(map_.dtype)
            pooled[rows] = roi_align(map_, rois, self.output_size, 1 / stride, self.sampling_ratio, aligned=True)
        return pooled


class ClampedBoxCoder(BoxCoder):
    """torchvision's coder, with the logarithms of sizes bounded from below as from above, by log(1000 / 16)."""

    def decode_single(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Deltas [R, 4 classes] on boxes [R, 4] to boxes [R, 4 classes]."""
        lowest = [-math.inf, -math.inf, *(-self.bbox_xform_clip * weight for weight in self.weights[2:])]
        bounds = rel_codes.new_tensor(lowest).repeat(rel_codes.shape[1] // 4)
        return super().decode_single(torch.maximum(rel_codes, bounds), boxes)


def shapes(scale: float) -> tuple[tuple[tuple[float], ...], tuple[tuple[float, ...], ...]]:
    """Sides and ratios of height to width of the anchors of each level."""
    return tuple((scale * stride,) for stride in STRIDES), ((0.5, 1.0, 2.0),) * len(STRIDES)


def parts(conventions: str, anchor_scale: float = 8) -> dict[str, Any]:
    """Arguments of ``torchvision.models.detection.MaskRCNN`` for a version of mmdetection; few for torchvision."""
    if conventions == "torchvision":
        return {} if anchor_scale == 8 else {"rpn_anchor_generator": AnchorGenerator(*shapes(anchor_scale))}
    legacy = conventions == "mmdetection1"
    return {
        "rpn_anchor_generator": PyramidAnchors(legacy, anchor_scale),
        "box_roi_pool": PyramidRoIAlign(7, legacy),
        "mask_roi_pool": PyramidRoIAlign(14, legacy),
    }
