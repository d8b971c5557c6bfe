"""Videos for tests."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

GREYS = [12 * index + 5 for index in range(20)]


def write_video(
    path: Path,
    greys: Sequence[int] | np.ndarray = GREYS,
    *,
    size: tuple[int, int] = (32, 32),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    milliseconds: Sequence[int] | None = None,
    container: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
    first: int = 0,
) -> Path:
    """Frames of one grey each, or the frames [T, H, W, 3] themselves, at given times or 25 a second from ``first``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    options = {"g": "8"}
    if codec in ("libx264", "mpeg4", "mpeg2video"):
        options["bf"] = "2"  # frames are stored in another order than they are shown in
    if codec == "libx264":
        options |= {"crf": "0", "preset": "ultrafast"}
    options |= encoder or {}
    with av.open(path, "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if milliseconds:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index, value in enumerate(greys):
            picture = np.full((height, width, 3), value, np.uint8) if np.ndim(value) == 0 else np.asarray(value)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if milliseconds:
                frame.pts, frame.time_base = milliseconds[index], Fraction(1, 1000)
            elif first:
                frame.pts, frame.time_base = first + index, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def moving_bar(direction: int, seed: int, frames: int = 12) -> np.ndarray:
    """A bright bar that moves to the right (1) or to the left (-1) from somewhere."""
    start = int(np.random.default_rng(seed).integers(0, 32))
    video = np.full((frames, 24, 32, 3), 20, np.uint8)
    for time in range(frames):
        columns = (start + direction * 2 * time + np.arange(5)) % 32
        video[time, :, columns] = 230
    return video


def write_sound(path: Path) -> Path:
    """A file without pictures."""
    with av.open(path, "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def turn(path: Path) -> Path:
    """Say in the header of an MP4 file that it is to be shown turned to the right."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    path.write_bytes(content)
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first share of the bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
