"""Download checkpoints into torch's cache, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.files import whole_file

TIMEOUT_SECONDS = 30
_CHUNK = 2**20


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s) addresses only."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise CheckpointError(f"redirected to {newurl}, which is not a web address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, *, max_bytes: int, sha256: str | None = None) -> Path:
    """The file at ``url``, from the cache if it is there (``torch.hub.get_dir()/checkpoints/gcnet``).

    Raises:
        CheckpointError: if it cannot be had, is a web page, is larger than ``max_bytes``, or its hash is another.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints" / "gcnet"
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "download"
    target = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name[-100:]}"
    if target.is_file():
        try:
            if sha256 is not None:
                check_sha256(target, sha256)
            return target
        except CheckpointError:
            target.unlink()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as partial:
            _fetch(url, partial, max_bytes)
            if sha256 is not None:
                check_sha256(partial, sha256)
    except CheckpointError as error:
        raise CheckpointError(f"{url}: {error}") from None
    except urllib.error.HTTPError as error:
        raise CheckpointError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(f"{url}: cannot be downloaded ({reason})") from None
    return target


def _fetch(url: str, partial: Path, max_bytes: int) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "gcnet"})
    with (
        urllib.request.build_opener(_OnlyWeb).open(request, timeout=TIMEOUT_SECONDS) as answer,
        partial.open("wb") as file,
    ):
        if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
            raise CheckpointError("a web page, not a file: copy the address of the download itself")
        declared = answer.headers.get("Content-Length")
        length = int(declared) if declared and declared.isdecimal() else None
        if length is not None and length > max_bytes:
            raise CheckpointError(f"{length} bytes, more than max_bytes={max_bytes}")
        got = 0
        while chunk := answer.read(_CHUNK):
            got += len(chunk)
            if got > max_bytes:
                raise CheckpointError(f"more than max_bytes={max_bytes}")
            file.write(chunk)
        if length is not None and got != length:
            raise CheckpointError(f"the connection ended after {got} of {length} bytes; try again")


def check_sha256(path: Path, expected: str) -> None:
    """Raise CheckpointError unless the file's hash begins with ``expected``, at least eight hexadecimal digits."""
    digits = expected.lower()
    if not 8 <= len(digits) <= 64 or set(digits) - set("0123456789abcdef"):
        raise CheckpointError(f"sha256={expected!r}: give 8 to 64 hexadecimal digits")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if not actual.startswith(digits):
        raise CheckpointError(f"its sha256 is {actual}, not {expected}: the file is another or was changed on the way")
