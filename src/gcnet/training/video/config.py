"""The configuration of a video classifier's training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from gcnet.blocks.base import check_choice
from gcnet.training.config import TrainingConfig
from gcnet.training.video.decoding import DECODERS
from gcnet.training.video.views import Views


@dataclass(frozen=True, kw_only=True)
class VideoConfig(TrainingConfig):
    """Train a classifier of short videos, with or without context blocks.

    ``backbone`` is slow_only_r50 or i3d_r50 (also r10, r18, r34 and r101), inflated from the image classifier whose
    weights ``weights`` may name; or a video network of torchvision, such as r2plus1d_18.

    Attributes:
        train_list: file with a path and a label per line; None for the lists or class folders in ``data``.
        val_list: likewise.
        val_fraction: share of each class that validates, where the data has no split of its own.
        frames: of a clip.
        stride: distance of its frames.
        frame_rate: frames per second in which ``stride`` is meant; None for each video's own.
        crop: height and width of training clips in pixels.
        short_side: smallest and largest short side that a training clip is scaled to before it is cropped.
        mirror: half of the training clips are mirrored.
        test_crop: height and width of test clips, and the short side they are scaled to.
        views: clips of a video times crops of each whose probabilities are averaged in testing; published is 10x3.
        dropout: before the last layer.
        label_smoothing: share of the target spread over all classes.
        decoder: pyav, torchcodec, or auto for torchcodec where it works.
    """

    task: ClassVar[str] = "video"
    score: ClassVar[str] = "val_top1"

    train_list: Path | None = None
    val_list: Path | None = None
    val_fraction: float = 0.2
    frames: int = 8
    stride: int = 8
    frame_rate: float | None = None
    crop: int = 224
    short_side: tuple[int, int] = (256, 320)
    mirror: bool = True
    test_crop: int = 256
    views: str = "1x1"
    dropout: float = 0.5
    label_smoothing: float = 0.0
    decoder: str = "auto"
    out: Path = Path("runs/video")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("decoder", self.decoder, DECODERS)
        self.check_at_least(1, "frames", "stride", "crop", "test_crop")
        self.check_positive("frame_rate")
        Views.parse(self.views)
        low, high = self.short_side
        if not self.crop <= low <= high:
            raise ValueError(
                f"short_side={low, high} must increase from crop={self.crop} or more, such as "
                f"{round(self.crop * 8 / 7)}, {round(self.crop * 10 / 7)}"
            )
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction={self.val_fraction} must lie between 0 and 1")
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0 and below 1")
        if self.val_list is not None and self.train_list is None:
            raise ValueError(f"val_list={self.val_list} needs train_list as well")


CONFIG = VideoConfig
