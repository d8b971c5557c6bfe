"""The configuration of a classifier's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gcnet.blocks.base import check_choice
from gcnet.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(TrainingConfig):
    """Train a classifier, with or without context blocks, on labelled images.

    Attributes:
        train_shards: training shards outside ``data``: paths or URLs, such as ``https://host/train-{000..099}.tar``.
        val_shards: validation shards, likewise.
        shard_lanes: shards that each process reads side by side; the order of the samples depends on it. Best a
            multiple of ``workers``.
        shard_buffer: samples that each process holds in memory and draws from, over all lanes.
        image_column: of a Hugging Face data set, or file extension within shards, where there are several.
        label_column: of a Hugging Face data set, or file extension or JSON key within shards, where there are several.
        val_fraction: share of each class that validates, where the data has no split of its own.
        image_size: height and width of training images in pixels.
        test_size: of validation images; None for the same.
        test_resize: short side that a validation image is scaled to before its centre is cut out; None for 8/7 of
            the size cut out.
        interpolation: of scaling: bilinear or bicubic.
        crop_scale: smallest and largest share of the area that a training image shows.
        crop_ratio: smallest and largest ratio of width to height of what it shows.
        mirror: share of training images seen in the mirror.
        rotation: largest angle in degrees, in both directions.
        pixel_jitter: largest change of every single value out of 0 to 255, in both directions.
        colour_jitter: largest relative change of brightness, contrast and saturation.
        erasing: share of training images of which a rectangle is blanked (https://arxiv.org/abs/1708.04896).
        mixup: of the Beta distribution (https://arxiv.org/abs/1710.09412); 0 for no mixup.
        cutmix: of the Beta distribution (https://arxiv.org/abs/1905.04899); 0 for no CutMix. With both, each batch
            gets one of the two.
        label_smoothing: share of the target spread over all classes.
    """

    task: ClassVar[str] = "classification"
    score: ClassVar[str] = "val_top1"

    train_shards: str | None = None
    val_shards: str | None = None
    shard_lanes: int = 4
    shard_buffer: int = 4000
    image_column: str | None = None
    label_column: str | None = None
    val_fraction: float = 0.2
    image_size: int = 96
    test_size: int | None = None
    test_resize: int | None = None
    interpolation: str = "bilinear"
    crop_scale: tuple[float, float] = (0.35, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    mirror: float = 0.5
    rotation: float = 0.0
    pixel_jitter: float = 0.0
    colour_jitter: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.1
    out: Path = Path("runs/classification")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("interpolation", self.interpolation, ("bilinear", "bicubic"))
        self.check_at_least(1, "image_size", "test_size", "test_resize", "shard_lanes", "shard_buffer")
        self.check_at_least(0, "pixel_jitter", "mixup", "cutmix")
        if self.resize < self.crop:
            raise ValueError(f"test_resize={self.test_resize} must be at least the {self.crop} pixels that are cut out")
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction={self.val_fraction} must lie between 0 and 1")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing={self.label_smoothing} must be at least 0 and below 1")
        self.check_share("mirror", "erasing", "colour_jitter")
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation={self.rotation} must lie between 0 and 180 degrees")
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}={low, high} must be positive and increasing, such as 0.08, 1")
        if self.crop_scale[1] > 1:
            raise ValueError(f"crop_scale={self.crop_scale} must not exceed 1, the whole image")
        if self.val_shards and not self.train_shards:
            raise ValueError(f"val_shards={self.val_shards!r} needs train_shards as well")
        if self.train_shards and not self.val_shards:
            raise ValueError(f"train_shards={self.train_shards!r} needs val_shards as well, such as val-{{00..04}}.tar")

    @property
    def crop(self) -> int:
        """Height and width of validation images in pixels."""
        return self.test_size or self.image_size

    @property
    def resize(self) -> int:
        """Short side of a validation image before its centre is cut out, in pixels."""
        return self.test_resize or round(self.crop * 8 / 7)


CONFIG = ClassificationConfig
