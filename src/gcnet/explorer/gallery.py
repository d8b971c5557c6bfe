"""The pictures that can be looked at, by names that tell nothing of where they lie."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from PIL import Image

from gcnet.explorer.pictures import Unknown, read_picture
from gcnet.study.subject import Subject, View
from gcnet.training.loading import BrokenSample
from gcnet.training.video.decoding import read_frames, scan

MOST_UPLOADS = 16
THUMBNAIL = 128  # longest side in pixels


class Gallery:
    """Files of a folder as ``f0``, ``f1``, ...; uploads, the newest ``MOST_UPLOADS`` of them, as ``u0``, ``u1``, ...

    Args:
        folder: which no file may leave; links out of it are not followed.
        files: below it.
        kind: ``"image"`` or ``"video"``.

    Attributes:
        left_out: number of files that lie elsewhere.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> Image.new("RGB", (8, 8)).save(folder / "a.png")
        >>> Gallery(folder, [folder / "a.png"]).entries()
        [{'id': 'f0', 'name': 'a.png'}]
    """

    def __init__(self, folder: Path | None = None, files: Sequence[Path] = (), kind: str = "image") -> None:
        self.kind = kind
        self._folder = None if folder is None else folder.resolve()
        inside = [path for path in files if self._inside(path)]
        self.left_out = len(files) - len(inside)
        self._files = {f"f{index}": path for index, path in enumerate(inside)}
        self._uploads: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._count = 0
        self._lock = Lock()

    def entries(self) -> list[dict[str, str]]:
        """Id and name of every picture, uploads first, the newest before the others."""
        with self._lock:
            uploads = [{"id": key, "name": name} for key, (name, _) in reversed(self._uploads.items())]
        return uploads + [{"id": key, "name": path.name} for key, path in self._files.items()]

    def add(self, content: bytes, name: str) -> str:
        """Keep an upload; its id.

        Raises:
            Refused: it is no image that can be read.
            ValueError: the networks see videos.
        """
        if self.kind != "image":
            raise ValueError("this network sees videos, which cannot be uploaded; start it with --images DIR")
        read_picture(content, name)
        with self._lock:
            key = f"u{self._count}"
            self._count += 1
            self._uploads[key] = name, content
            if len(self._uploads) > MOST_UPLOADS:
                self._uploads.popitem(last=False)
        return key

    def see(self, key: str, subject: Subject) -> View:
        """A picture as a network sees it.

        Raises:
            Unknown: no such picture.
            Refused, BrokenSample: it cannot be read.
        """
        name, content = self._find(key)
        if isinstance(content, bytes) or self.kind == "image":
            return subject.see(read_picture(content, name))
        try:
            return subject.see(content)
        except BrokenSample as error:
            raise BrokenSample(str(error).replace(str(content), name)) from error

    def thumbnail(self, key: str) -> bytes:
        """A small JPEG; of a video, its first frame. Errors as for :meth:`see`."""
        name, content = self._find(key)
        if isinstance(content, bytes) or self.kind == "image":
            picture = read_picture(content, name)
        else:
            frame = read_frames(scan(content), [0], short_side=THUMBNAIL)[0]
            picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    def name(self, key: str) -> str:
        """What a picture is called; raises Unknown."""
        return self._find(key)[0]

    def _find(self, key: str) -> tuple[str, Path | bytes]:
        with self._lock:
            if key in self._uploads:
                return self._uploads[key]
        path = self._files.get(key)
        if path is None or not self._inside(path):
            raise Unknown(f"image {key!r} is not there, or no longer; choose another")
        return path.name, path

    def _inside(self, path: Path) -> bool:
        """Whether it is a file of the folder, now that links are followed."""
        resolved = path.resolve()
        return self._folder is not None and resolved.is_relative_to(self._folder) and resolved.is_file()
