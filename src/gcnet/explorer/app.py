"""The web application: the page, and what it asks for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import matplotlib
import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from gcnet.analysis.capture import Captured
from gcnet.explorer.gallery import Gallery
from gcnet.explorer.guard import Guard
from gcnet.explorer.looks import Look, Looks
from gcnet.explorer.numbers import distances, newest_audit
from gcnet.explorer.pictures import MOST_BYTES
from gcnet.study.subject import Subject

COLOURS = {"sequential": "viridis", "diverging": "PuOr"}


def build_app(subjects: Sequence[Subject], gallery: Gallery, host: str = "127.0.0.1") -> FastAPI:
    """The application for one network or two.

    Args:
        subjects: the networks.
        gallery: pictures to choose from.
        host: that it is served on; requests for other names are refused.
    """
    app = FastAPI(title="gcnet explore", docs_url=None, redoc_url=None, openapi_url=None)
    looks = [Looks(subject) for subject in subjects]

    def look(model: int, image: str) -> Look:
        if not 0 <= model < len(looks):
            raise HTTPException(404, f"there is no model {model}")
        try:
            return looks[model](image, lambda subject: gallery.see(image, subject))
        except KeyError:
            raise HTTPException(404, "this image is no longer there; choose another") from None
        except ValueError as error:  # what cannot be read, and networks without attention
            raise HTTPException(422, str(error)) from error

    def found(model: int, image: str, block: str) -> tuple[Look, Captured]:
        seen = look(model, image)
        if block not in seen.maps:
            raise HTTPException(404, f"there is no block {block!r}; there are {', '.join(seen.maps)}")
        return seen, seen.maps[block]

    @app.get("/api/start")
    def start() -> dict[str, Any]:
        return {
            "models": [{"name": subject.name, "kind": subject.kind} for subject in subjects],
            "images": gallery.entries(),
            "most_bytes": MOST_BYTES,
            "colours": {kind: colour_table(name) for kind, name in COLOURS.items()},
        }

    @app.post("/api/images")
    async def upload(request: Request, name: str = "image") -> dict[str, str]:
        content = await _bounded(request)
        try:
            return {"id": await run_in_threadpool(gallery.add, content, name[:100])}
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/api/images/{image}/thumbnail")
    def thumbnail(image: str) -> Response:
        try:
            return Response(gallery.thumbnail(image), media_type="image/jpeg")
        except KeyError:
            raise HTTPException(404, "this image is no longer there") from None
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @app.get("/api/looks/{model}/{image}")
    def describe(model: int, image: str) -> dict[str, Any]:
        seen = look(model, image)
        height, width = seen.view.picture.shape[-2:]
        return {
            "name": gallery.name(image),
            "width": width,
            "height": height,
            "frames": seen.frames,
            "prediction": [{"name": name, "probability": share} for name, share in seen.prediction],
            "blocks": [_block(record) for record in seen.maps.values()],
        }

    @app.get("/api/looks/{model}/{image}/picture")
    def picture(model: int, image: str) -> Response:
        pixels = look(model, image).view.picture
        if pixels.dim() == 4:  # frames below one another
            pixels = pixels.flatten(1, 2)
        return Response(_png(pixels.permute(1, 2, 0).numpy()), media_type="image/png")

    @app.get("/api/looks/{model}/{image}/row")
    def row(model: int, image: str, block: str, query: int, head: int | None = None) -> Response:
        seen, _ = found(model, image, block)
        try:
            weights = seen.row(block, query, head)
        except IndexError as error:
            raise HTTPException(422, str(error)) from error
        return Response(weights.numpy().astype("<f4").tobytes(), media_type="application/octet-stream")

    @app.get("/api/looks/{model}/{image}/numbers")
    def numbers(model: int, image: str, block: str) -> dict[str, Any]:
        _, record = found(model, image, block)
        return {"image": distances(record), "audit": newest_audit(subjects[model].run, block)}

    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failure)
    app.mount("/", StaticFiles(directory=str(files("gcnet.explorer") / "static"), html=True))
    app.add_middleware(Guard, host=host)
    return app


def colour_table(name: str) -> list[list[int]]:
    """The 256 colours of a map of matplotlib, as bytes.

    Example:
        >>> colour_table("viridis")[0]
        [68, 1, 84]
    """
    table = matplotlib.colormaps[name](np.arange(256), bytes=True)
    return table[:, :3].tolist()


async def _bounded(request: Request) -> bytes:
    """The body of a request; reading ends where it is too long."""
    too_long = HTTPException(413, f"the file is larger than {MOST_BYTES // 2**20} MiB")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        raise too_long
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise too_long
    return bytes(content)


def _block(record: Captured) -> dict[str, Any]:
    names = ("path", "kind", "size", "key_size", "heads", "prefix", "pooled", "softmax", "pairwise")
    return {name: getattr(record, name) for name in names}


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _refusal(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": error.detail}, error.status_code)


def _invalid(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)


def _failure(request: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": "this failed; the terminal that the explorer runs in says why"}, 500)
