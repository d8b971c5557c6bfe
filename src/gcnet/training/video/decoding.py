"""Chosen frames of a video file, exact and in little memory, decoded by PyAV or torchcodec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from gcnet.blocks.base import check_choice
from gcnet.training.loading import BrokenSample

DECODERS = ("auto", "pyav", "torchcodec")
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # after a seek in others, time stamps may be a neighbour's


@dataclass(frozen=True, eq=False)
class Video:
    """When the frames of a video are shown, without the frames themselves.

    Attributes:
        path: the file.
        stamps: [N] time stamps of its frames in the file's own unit, increasing.
        keys: those of them from which decoding can start.
        unit: seconds of one unit.
        container: FFmpeg's name of the file format.
        missing: frames that the header promises and the file does not hold, because its tail is broken.
    """

    path: Path
    stamps: NDArray[np.int64]
    keys: NDArray[np.int64]
    unit: float
    container: str
    missing: int = 0

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds [N] from the first frame."""
        return (self.stamps - self.stamps[0]) * self.unit

    @property
    def interval(self) -> float:
        """Mean seconds between frames; 1 for a video of one frame."""
        return float(self.times[-1]) / (len(self) - 1) if len(self) > 1 else 1.0

    @property
    def duration(self) -> float:
        """Seconds, the last frame being shown for the mean interval."""
        return len(self) * self.interval

    @property
    def rounding(self) -> float:
        """Seconds by which a time stamp may differ from the time that is meant."""
        return min(self.unit, self.interval / 4)

    def shown_at(self, seconds: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """Indices of the frames on display at these times, which repeat after the duration."""
        laps = np.floor((seconds + self.rounding) / self.duration)
        moments = seconds - laps * self.duration
        return (np.searchsorted(self.times, moments + self.rounding, side="right") - 1).clip(0)


def scan(path: Path) -> Video:
    """Find the frames of a video without decoding it.

    What follows the first damaged packet of the file does not count: a video with a broken tail is as long as its
    readable part. Neither do frames before the first key frame, nor those that an edit list cuts off.

    Raises:
        BrokenSample: not a video, no video stream, no frame, frames without time stamps.

    Example:
        >>> import av
        >>> path = getfixture("tmp_path") / "grey.mp4"
        >>> with av.open(path, "w") as container:
        ...     stream = container.add_stream("libx264", rate=25, options={"crf": "0"})
        ...     stream.width = stream.height = 32
        ...     for value in (0, 100, 200):
        ...         frame = av.VideoFrame.from_ndarray(np.full((32, 32), value, np.uint8), format="gray")
        ...         container.mux(stream.encode(frame))
        ...     _ = container.mux(stream.encode())
        >>> video = scan(path)
        >>> len(video), video.interval
        (3, 0.04)
        >>> read_frames(video, [2, 0, 2], decoder="pyav")[:, 0, 0, 0]
        tensor([200,   0, 200], dtype=torch.uint8)
    """
    with _opened(path) as (container, stream):
        packets = [(packet.pts, packet.is_keyframe, packet.is_discard) for packet in _packets(container, stream)]
        shown = [stamp for stamp, _, discarded in packets if not discarded]
        if not shown:
            raise BrokenSample(f"{path}: holds no frame that can be read")
        if any(stamp is None for stamp in shown):
            raise BrokenSample(f"{path}: its frames have no time stamps; a container such as .mp4 or .mkv has them")
        keys = np.unique([stamp for stamp, key, _ in packets if key and stamp is not None])
        if not len(keys) or keys[0] > max(shown):
            raise BrokenSample(f"{path}: has no key frame to start decoding from")
        stamps = np.unique(shown)
        stamps = stamps[stamps >= keys[0]]
        video = Video(path, stamps, keys, float(stream.time_base), container.format.name)
        return replace(video, missing=_missing(video, stream, len(packets)))


def read_frames(
    video: Video, indices: Sequence[int], *, short_side: int | None = None, decoder: str = "auto"
) -> Tensor:
    """Frames by their index in the order of time; no more than these and one besides are held at any moment.

    Args:
        video: from :func:`scan`.
        indices: of the frames, in any order, repeated at will.
        short_side: pixels to which each frame is resized; None for its own size.
        decoder: "pyav", "torchcodec", or "auto" for torchcodec where it works. The frames are the same: what torchcodec
            cannot seek in exactly (containers other than MP4, QuickTime, Matroska and WebM) is left to PyAV.

    Returns:
        RGB, uint8 [T, 3, H, W], upright.

    Raises:
        BrokenSample: a frame cannot be decoded, or frames differ in size.
        ValueError: an unknown decoder, or one that does not work here.
    """
    by_torchcodec = choose_decoder(decoder) == "torchcodec" and video.container in _SEEKABLE
    decode = _by_torchcodec if by_torchcodec else _by_pyav
    wanted = sorted(set(indices))
    frames: dict[int, Tensor] = {}
    for index, frame in zip(wanted, decode(video, wanted), strict=True):
        frames[index] = frame if short_side is None else resize(frame, [short_side], antialias=True)
    if len({frame.shape for frame in frames.values()}) > 1:
        raise BrokenSample(f"{video.path}: its frames change their size")
    return torch.stack([frames[index] for index in indices])


def choose_decoder(name: str) -> str:
    """The decoder that ``name`` stands for.

    Raises:
        ValueError: an unknown name, or a decoder that does not work here.

    Example:
        >>> choose_decoder("pyav")
        'pyav'
    """
    check_choice("decoder", name, DECODERS)
    if name == "torchcodec" and not torchcodec_works():
        raise ValueError(
            "decoder='torchcodec': it is not installed, or finds no FFmpeg; see its installation guide, or use 'pyav'"
        )
    if name == "auto":
        return "torchcodec" if torchcodec_works() else "pyav"
    return name


@cache
def torchcodec_works() -> bool:
    """Whether torchcodec is installed and finds FFmpeg."""
    try:
        import torchcodec
    except (ImportError, OSError, RuntimeError):
        return False
    return getattr(torchcodec, "ffmpeg_major_version", None) is not None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its first moving picture; errors of FFmpeg name the file."""
    try:
        with av.open(str(path)) as container:
            moving = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            if not moving:
                kinds = ", ".join(s.type for s in container.streams if s.type != "video") or "nothing else"
                raise BrokenSample(f"{path}: has no video stream (it holds {kinds})")
            moving[0].codec_context.thread_count = 1  # loading runs in several processes already
            yield container, moving[0]
    except (av.FFmpegError, OSError) as error:
        empty = path.is_file() and path.stat().st_size == 0
        reason = "it is empty" if empty else error.strerror or str(error)
        raise BrokenSample(f"{path}: cannot be decoded ({reason})") from error


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets up to the first damaged one."""
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                return
            if packet.size:
                yield packet
    except av.FFmpegError:
        return


def _missing(video: Video, stream: Any, packets: int) -> int:
    """Frames that the header counts beyond the packets, or has time for beyond the frames."""
    if stream.frames:
        return max(0, stream.frames - packets)
    if stream.duration is not None:
        promised = ((stream.start_time or 0) + stream.duration) * video.unit
    elif "DURATION" in stream.metadata:  # Matroska
        hours, minutes, seconds = map(float, stream.metadata["DURATION"].split(":"))
        promised = hours * 3600 + minutes * 60 + seconds
    else:
        return 0
    lacking = (promised - float(video.stamps[-1]) * video.unit) / video.interval - 1
    return round(lacking) if len(video) > 1 and lacking > 0.9 else 0


class _Playback:
    """Decoded frames in the order of time, from a key frame, or from the beginning, on."""

    def __init__(self, video: Video, key: int | None = None) -> None:
        frames = self._decode(video.path, key)
        self._frames = self._numbered(frames, video.stamps) if video.container == "avi" else frames
        self.shown: Any = None
        self.ahead: Any = next(self._frames, None)

    def advance(self, stamp: int) -> bool:
        """Go on to the frame on display at ``stamp``; whether there is one.

        It is an earlier one where a codec says that nothing has changed.
        """
        while self.ahead is not None and self.ahead.pts <= stamp:
            self.shown, self.ahead = self.ahead, next(self._frames, None)
        return self.shown is not None and (self.shown.pts == stamp or self.ahead is not None)

    @staticmethod
    def _decode(path: Path, key: int | None) -> Iterator[Any]:
        with _opened(path) as (container, stream):
            if key is not None:
                container.seek(key, stream=stream)
            for packet in _packets(container, stream):
                yield from packet.decode()
            yield from stream.codec_context.decode(None)

    @staticmethod
    def _numbered(frames: Iterator[Any], stamps: NDArray[np.int64]) -> Iterator[Any]:
        """Frames of AVI, which stores no times: those that FFmpeg gives them are in the order of the file."""
        for frame, stamp in zip(frames, stamps.tolist(), strict=False):
            frame.pts = stamp
            yield frame


def _by_pyav(video: Video, wanted: Sequence[int]) -> Iterator[Tensor]:
    first, playback, before = int(video.stamps[0]), None, -1
    keys = video.keys if video.container in _SEEKABLE else video.keys[:0]
    for index in wanted:
        stamp = int(video.stamps[index])
        key = int(keys[keys <= stamp][-1:].max(initial=first))
        if playback is None or key > video.stamps[before]:  # nothing up to the key frame is needed
            playback = _Playback(video, key if key > first else None)
        if not playback.advance(stamp):  # key frames too close to each other for a seek
            playback = _Playback(video)
            if not playback.advance(stamp):
                raise BrokenSample(f"{video.path}: frame {index} of {len(video)} cannot be decoded")
        before = index
        yield _upright(playback.shown)


def _upright(frame: Any) -> Tensor:
    """RGB [3, H, W]."""
    pixels = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
    return torch.rot90(pixels, round(frame.rotation / 90) % 4, (1, 2))


def _by_torchcodec(video: Video, wanted: Sequence[int]) -> Iterator[Tensor]:
    from torchcodec.decoders import VideoDecoder

    ends = np.append(video.stamps[1:], video.stamps[-1] + max(1, round(video.interval / video.unit)))
    keys = set(video.keys.tolist())
    frames = [
        {"pts": stamp, "duration": end - stamp, "key_frame": int(stamp in keys)}
        for stamp, end in zip(video.stamps.tolist(), ends.tolist(), strict=True)
    ]
    done = 0
    try:
        decoder = VideoDecoder(str(video.path), custom_frame_mappings=json.dumps({"frames": frames}), device="cpu")
        for index in wanted:
            frame = decoder.get_frame_at(index)
            if abs(frame.pts_seconds / video.unit - video.stamps[index]) > 0.5:
                break
            done += 1
            yield frame.data
    except RuntimeError:
        pass
    yield from _by_pyav(video, wanted[done:])  # such as before a broken tail
