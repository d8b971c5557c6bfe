"""Clips of videos: which frames, at which size, for training and for testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from gcnet.training.video.config import VideoConfig
from gcnet.training.video.decoding import Video, read_frames, scan
from gcnet.training.video.views import Views, even_crops, even_starts


@dataclass(frozen=True)
class ClipTimes:
    """When the frames of clips are shown: ``frames`` moments, ``stride`` frames apart.

    The distance is one in time, so videos whose frames are unevenly spaced are sampled evenly. A video that is shorter
    than a clip is repeated from its beginning.

    Attributes:
        frames: of a clip.
        stride: their distance.
        frame_rate: frames per second in which it is meant; None for each video's own mean.
    """

    frames: int
    stride: int
    frame_rate: float | None = None

    def latest_start(self, video: Video) -> float:
        """Seconds after which a clip no longer fits; 0 for a video that is too short."""
        return max(0.0, float(video.times[-1]) - (self.frames - 1) * self._step(video))

    def indices(self, video: Video, start: float) -> list[int]:
        """Frames of the clip that starts at ``start`` seconds."""
        return video.shown_at(start + np.arange(self.frames) * self._step(video)).tolist()

    def _step(self, video: Video) -> float:
        return self.stride * (video.interval if self.frame_rate is None else 1 / self.frame_rate)


class TrainingClips(Dataset[tuple[Tensor, int]]):
    """A random clip of every video, uint8 [3, T, crop, crop], with its label.

    The short side is drawn, then the crop and the mirroring; all frames of a clip get the same.

    Args:
        samples: files and labels.
        config: of clips and crops.
    """

    def __init__(self, samples: Sequence[tuple[Path, int]], config: VideoConfig) -> None:
        self.samples = samples
        self.config = config
        self.times = ClipTimes(config.frames, config.stride, config.frame_rate)
        self.transform = v2.Compose([v2.RandomCrop(config.crop), v2.RandomHorizontalFlip(config.mirror)])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        video = scan(path)
        start = torch.rand(()).item() * self.times.latest_start(video)
        low, high = self.config.short_side
        side = int(torch.randint(low, high + 1, ()))
        indices = self.times.indices(video, start)
        frames = read_frames(video, indices, short_side=side, decoder=self.config.decoder)
        return self.transform(frames).transpose(0, 1).contiguous(), label


class VideoViews(Dataset[tuple[Tensor, int]]):
    """The views of every video, uint8 [views, 3, T, test_crop, test_crop], with its label.

    Args:
        samples: files and labels.
        config: of clips, crops and views.
    """

    def __init__(self, samples: Sequence[tuple[Path, int]], config: VideoConfig) -> None:
        self.samples = samples
        self.config = config

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        return read_views(scan(path), self.config), label


def read_views(video: Video, config: VideoConfig) -> Tensor:
    """All views of a video, uint8 [clips * crops, 3, T, test_crop, test_crop]; each frame is decoded once."""
    views = Views.parse(config.views)
    times = ClipTimes(config.frames, config.stride, config.frame_rate)
    starts = even_starts(times.latest_start(video), views.clips)
    clips = [times.indices(video, start) for start in starts]
    needed = sorted({index for clip in clips for index in clip})
    frames = read_frames(video, needed, short_side=config.test_crop, decoder=config.decoder)
    chosen = frames[np.searchsorted(needed, clips)]  # [clips, T, 3, H, W]
    crops = even_crops(chosen, config.test_crop, views.crops)
    return crops.transpose(0, 1).flatten(0, 1).transpose(1, 2).contiguous()
