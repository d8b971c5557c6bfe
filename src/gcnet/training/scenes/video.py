"""Scenes as clips in one folder per class: in which direction do most of the digits move?

Half of the digits move in the direction of the clip's class, the others are spread evenly over the other directions.
Digits start anywhere, and leave on one side to come in on the other, so that every single frame is the same to all
classes; and half of the digits moves otherwise, so that following one of them is right for half of the clips at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcnet.training.scenes.compose import SceneSettings, both_kinds, part_sizes
from gcnet.training.scenes.drawing import blend, crop_photos, draw_digits, read_digits

DIRECTIONS = {"down": (1, 0), "left": (0, -1), "right": (0, 1), "up": (-1, 0)}
SPEEDS = (1, 2)  # pixels per frame
FRAME_RATE = 8  # per second
# Without these parameters, x264 does not always write the same bytes for the same frames.
ENCODER = {"crf": "10", "preset": "veryfast", "x264-params": "threads=1:lookahead-threads=1:cpu-independent=1"}


@dataclass(frozen=True, kw_only=True)
class VideoScenes(SceneSettings):
    """Clips of moving digits.

    The other fields are those of :class:`SceneSettings`.

    Attributes:
        digits: per clip, at least 4, so that more move in the direction of the class than in any other.
        frames: per clip.
    """

    digits: int = 6
    frames: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.digits < 4:
            raise ValueError(f"digits={self.digits} must be at least 4 for most of them to move in one direction")
        if self.frames < 2:
            raise ValueError(f"frames={self.frames} must be at least 2 to show a movement")


@dataclass(frozen=True)
class Clips:
    """Finished clips, and the choices they were made from.

    Attributes:
        frames: uint8 [N, T, H, W, 3].
        labels: int [N], index in DIRECTIONS of the direction most digits move in.
        moves: int [N, K], index of the direction of each digit.
        digit_ids: int [N, K], which digit of scikit-learn's set.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    moves: NDArray[np.int64]
    digit_ids: NDArray[np.int64]


def compose_clips(settings: VideoScenes, split: str, part: int = 0) -> Clips:
    """Compose clips of ``split`` ("train" or "val") in memory: all of them, or a part of a large set.

    Example:
        >>> clips = compose_clips(VideoScenes(train=3, val=2), "val")
        >>> clips.frames.shape, clips.labels.shape
        ((2, 16, 64, 64, 3), (2,))
    """
    count = part_sizes(settings, split, settings.frames)[part]
    rng = np.random.default_rng([settings.seed, split == "val", part])
    glyphs, ids = read_digits(split, settings.seed)
    shape = (count, settings.digits)

    chosen = rng.integers(len(glyphs), size=shape)
    base = rng.uniform(*settings.base, size=(count, 1))
    level = base + np.where(both_kinds(rng, shape), settings.offset, -settings.offset)
    labels, moves = _moves(rng, shape)
    speed = rng.integers(SPEEDS[0], SPEEDS[1], endpoint=True, size=(*shape, 1))
    step = np.array(list(DIRECTIONS.values()))[moves] * speed
    corners = rng.integers(settings.size, size=(count, 1, settings.digits, 2)) + (
        np.arange(settings.frames)[:, None, None] * step[:, None]
    )
    top, left = np.moveaxis(corners.reshape(-1, settings.digits, 2), -1, 0)

    def every_frame(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values.repeat(settings.frames, axis=0)

    layer = draw_digits(every_frame(glyphs[chosen]), every_frame(level), top, left, settings.size)
    strength = every_frame(rng.uniform(*settings.noise, size=(count, 1, 1, 1)))
    noise = rng.standard_normal((*layer.coverage.shape, 1)) * strength
    photo = every_frame(crop_photos(rng, count, settings.size, split) * settings.photo)
    frames = blend(layer, photo, noise).reshape(count, settings.frames, settings.size, settings.size, 3)
    return Clips(frames, labels, moves, ids[chosen])


def write_video(root: Path, settings: VideoScenes) -> Iterator[Path]:
    """Write ``<split>/<direction>/00000.mp4``; yield each clip when it is there."""
    for split in ("train", "val"):
        for name in DIRECTIONS:
            (root / split / name).mkdir(parents=True)
        first = 0
        for part, count in enumerate(part_sizes(settings, split, settings.frames)):
            clips = compose_clips(settings, split, part)
            names = [list(DIRECTIONS)[label] for label in clips.labels]
            paths = [root / split / name / f"{first + index:05}.mp4" for index, name in enumerate(names)]
            with ThreadPoolExecutor(4) as pool:
                yield from pool.map(save_clip, clips.frames, paths)
            first += count


def save_clip(frames: NDArray[np.uint8], path: Path) -> Path:
    """Encode frames [T, H, W, 3] as H.264; the same bytes for the same frames on one machine."""
    import av

    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE, options=ENCODER)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def _moves(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Direction [N] of half of the digits, and directions [N, K]; the others take turns, starting anywhere."""
    count, digits = shape
    kinds = len(DIRECTIONS)
    labels = rng.integers(kinds, size=count)
    start = rng.integers(kinds - 1, size=(count, 1))
    turns = 1 + (start + np.arange(digits - digits // 2)) % (kinds - 1)
    moves = np.concatenate([np.zeros((count, digits // 2), np.int64), turns], axis=1)
    return labels, (labels[:, None] + rng.permuted(moves, axis=1)) % kinds
