"""Pictures from outside: bounded before they are decoded."""

from __future__ import annotations

import io
from pathlib import Path
from threading import BoundedSemaphore

from PIL import Image

from gcnet.training.images import UNREADABLE, to_rgb

MOST_BYTES = 20 * 2**20
MOST_PIXELS = 50_000_000
MOST_ELONGATED = 20  # long side to short: the short one is scaled up to what a network sees, and the long one with it
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # of uploads
_DECODING = BoundedSemaphore(2)  # pictures in memory at a time
_MAY_MOVE = ("GIF", "PNG", "WEBP")  # a JPEG of several pictures holds one and previews of it


class Unknown(LookupError):
    """What a request names is not there."""


class Refused(ValueError):
    """A picture that is not looked at; the message says why, to whoever gave it."""


def read_picture(content: Path | bytes, name: str) -> Image.Image:
    """An image upright, as 8-bit RGB. Its header is looked at before anything is decoded.

    Args:
        content: a file of a folder that is trusted to hold what training reads, or the bytes of an upload.
        name: what the errors call it.

    Raises:
        Refused: not an image; of an upload also another format than ``FORMATS``, or an animation; more pixels than
            ``MOST_PIXELS``; longer than ``MOST_ELONGATED`` times its short side; cannot be decoded.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("CMYK", (4, 3)).save(buffer, "JPEG")
        >>> read_picture(buffer.getvalue(), "a.jpg").mode
        'RGB'
        >>> read_picture(b"GIF89a", "b.gif")
        Traceback (most recent call last):
        gcnet.explorer.pictures.Refused: b.gif is no image in one of the formats JPEG, PNG, WEBP, GIF, BMP
    """
    uploaded = isinstance(content, bytes)
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        picture = Image.open(source, formats=FORMATS if uploaded else None)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except UNREADABLE as error:
        which = f"in one of the formats {', '.join(FORMATS)}" if uploaded else "that can be read"
        raise Refused(f"{name} is no image {which}") from error
    with picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise _too_large(name, picture.size)
        if max(picture.size) > MOST_ELONGATED * min(picture.size):
            size = f"{picture.width} x {picture.height}"
            raise Refused(f"{name} ({size}) is more than {MOST_ELONGATED} times as long as wide; crop it first")
        if uploaded and picture.format in _MAY_MOVE and getattr(picture, "is_animated", False):
            raise Refused(f"{name} is an animation; give one of its frames")
        try:
            with _DECODING:
                return to_rgb(picture)
        except UNREADABLE as error:
            raise Refused(f"{name} cannot be decoded: {error}") from error


def _too_large(name: str, size: tuple[int, int] | None = None) -> Refused:
    measured = f" ({size[0]} x {size[1]})" if size else ""
    return Refused(f"{name} has more than {MOST_PIXELS // 10**6} million pixels{measured}; scale it down first")
