"""What a segmentation network is trained with, beside what every training has in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gcnet.blocks.base import check_choice
from gcnet.training.config import TrainingConfig
from gcnet.training.images import MEAN, STD
from gcnet.training.segmentation.labels import LABELS


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(TrainingConfig):
    """Train a network that labels every pixel, on images with PNG masks.

    Attributes:
        data: folder of one of the layouts in :mod:`gcnet.training.segmentation.mask_folder`.
        backbone: a ResNet of torchvision for a head to stand on, or "scene_net", a small network with its own head.
        head: fcn, deeplabv3, or none for scene_net.
        output_stride: of the ResNet in pixels: 8, 16 or 32; c4 and c5 keep their resolution and are dilated.
        auxiliary: weight of the loss of a second FCN head on c4; 0 for no such head.
        classes: names of the labels; empty to take them from classes.txt (one per line) or meta.json in the data.
        labels: values in the mask files: indices (of the classes, from 0), zero_ignored (as in ADE20K: 0 is ignored, 1
            is the first class) or cityscapes_ids (label ids, turned into the 19 classes that are scored).
        ignore_index: label that is neither trained nor scored, also of what padding adds.
        mean: of the pixels, from 0 to 1, red, green, blue.
        std: of the pixels.
        resize: shorter side to which every image is scaled first; None to keep its size.
        crop_size: height and width of a training image; smaller ones are padded.
        max_class_share: a crop is drawn again, up to ten times, while one class has more of its labelled pixels.
        scale: range of the factor by which a training image is scaled at random before it is cropped.
        mirror: probability that a training image is mirrored.
        colour_jitter: change brightness, contrast, saturation and hue of training images at random.
        window: height and width of the windows that are put together to a prediction; None for the image as a whole.
        window_stride: distance of neighbouring windows, down and across; None for two thirds of the window.
        examples: validation images to draw.
    """

    task: ClassVar[str] = "segmentation"
    score: ClassVar[str] = "val_miou"

    head: str
    output_stride: int = 8
    auxiliary: float = 0.0
    classes: tuple[str, ...] = ()
    labels: str = "indices"
    ignore_index: int = 255
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    resize: int | None = None
    crop_size: tuple[int, int]
    max_class_share: float = 1.0
    scale: tuple[float, float] = (1.0, 1.0)
    mirror: float = 0.5
    colour_jitter: bool = False
    window: tuple[int, int] | None = None
    window_stride: tuple[int, int] | None = None
    examples: int = 4
    out: Path = Path("runs/segmentation")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("head", self.head, ("fcn", "deeplabv3", "none"))
        check_choice("labels", self.labels, LABELS)
        if (self.head == "none") != (self.backbone == "scene_net"):
            raise ValueError(
                f"head={self.head!r} does not go with backbone={self.backbone!r}: scene_net has its own head"
            )
        if self.head == "none" and (self.auxiliary or self.frozen or self.norm == "fixed"):
            raise ValueError(
                "backbone='scene_net' has no auxiliary head and nothing to freeze; leave frozen and norm out"
            )
        if self.head == "none" and (self.weights or "").partition(":")[0] == "pretrained":
            raise ValueError(f"weights={self.weights!r}: there are none of scene_net; give the checkpoint of a run")
        if self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride={self.output_stride} must be 8, 16 or 32")
        self.check_at_least(0, "auxiliary", "examples", "ignore_index")
        self.check_at_least(1, "resize")
        self.check_share("mirror")
        if len(set(self.classes)) != len(self.classes) or len(self.classes) == 1:
            raise ValueError(f"classes={','.join(self.classes)} must be two or more different names")
        if self.window_stride and not self.window:
            raise ValueError(f"window_stride={self.window_stride} goes with window, which is None")
        for name in ("crop_size", "window", "window_stride"):
            size = getattr(self, name)
            if size is not None and min(size) < 1:
                raise ValueError(f"{name}={size} must be a height and a width in pixels, such as (512, 512)")
        if self.window and any(step > extent for step, extent in zip(self.stride, self.window, strict=True)):
            raise ValueError(f"window_stride={self.window_stride} leaves gaps between windows of {self.window}")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale={self.scale} must be a range such as (0.5, 2.0)")
        if not 0 < self.max_class_share <= 1:
            raise ValueError(f"max_class_share={self.max_class_share} must be a share such as 0.75, or 1 for any crop")
        if not min(self.std) > 0:
            raise ValueError(f"std={self.std} must be positive")
        if self.head == "deeplabv3" and self.batch_size == 1 and self.norm != "sync":
            raise ValueError(
                "batch_size=1 does not go with head='deeplabv3', whose batch norm after global pooling needs two "
                "samples; give batch_size=2, or norm='sync' on several GPUs"
            )

    @property
    def stride(self) -> tuple[int, int]:
        """Distance of neighbouring windows, down and across."""
        height, width = self.window_stride or (2 * size // 3 or 1 for size in self.window or self.crop_size)
        return height, width


CONFIG = SegmentationConfig
