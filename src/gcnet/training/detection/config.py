"""What a detector is trained with, beside what every training has in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gcnet.blocks.base import check_choice
from gcnet.models.mmdetection import CONVENTIONS
from gcnet.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(TrainingConfig):
    """Train Mask R-CNN or Faster R-CNN with a feature pyramid on data in COCO's format.

    ``weights`` may also be the file of a whole detector: a checkpoint of a run, or any that ``gcnet.load`` reads. Its
    last layers are made new for other classes.

    Attributes:
        data: folder with annotations/instances_train*.json, annotations/instances_val*.json and folders of images.
        train_annotations: another file of training annotations, within ``data``.
        train_images: another folder of training images, within ``data``.
        val_annotations: another file of validation annotations, within ``data``.
        val_images: another folder of validation images, within ``data``.
        masks: predict a mask of every object (Mask R-CNN), or boxes alone (Faster R-CNN).
        conventions: anchors, RoIAlign and box coder of torchvision, mmdetection1 or mmdetection2.
        image_size: shorter side in pixels; one of several is drawn for each training image, the last one scores.
        max_size: limit of the longer side in pixels.
        mirror: probability that a training image is mirrored.
        keep_empty: train on images without objects as well.
        group_shapes: upright and wide images do not share a batch, which saves padding.
        channels: of the pyramid and of the heads; the box head has four times as many.
        anchor_scale: side of a square anchor in strides of its level, which are 4 to 64 pixels.
        proposals: kept per image in evaluation; twice as many in training.
        rois: regions per image that train the heads.
        score_threshold: detections below it are dropped.
        max_detections: kept and scored per image; crowded images need more than COCO's 100.
    """

    task: ClassVar[str] = "detection"
    score: ClassVar[str] = "val_box_ap"

    train_annotations: Path | None = None
    train_images: Path | None = None
    val_annotations: Path | None = None
    val_images: Path | None = None
    masks: bool = True
    conventions: str = "torchvision"
    image_size: tuple[int, ...] = (800,)
    max_size: int = 1333
    mirror: float = 0.5
    keep_empty: bool = True
    group_shapes: bool = True
    channels: int = 256
    anchor_scale: float = 8.0
    proposals: int = 1000
    rois: int = 512
    score_threshold: float = 0.05
    max_detections: int = 100
    out: Path = Path("runs/detection")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("conventions", self.conventions, CONVENTIONS)
        self.check_at_least(1, "max_size", "channels", "proposals", "rois", "max_detections")
        self.check_positive("anchor_scale")
        self.check_share("mirror", "score_threshold")
        if not self.image_size or min(self.image_size) < 32:
            raise ValueError(f"image_size={self.image_size} must be one or more sizes of at least 32, such as 640,800")
        if self.max_size < max(self.image_size):
            raise ValueError(f"max_size={self.max_size} is less than image_size={self.image_size}")


CONFIG = DetectionConfig
