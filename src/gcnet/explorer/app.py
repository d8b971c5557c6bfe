"""The web application: the page, and what it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from gcnet.analysis.capture import Captured
from gcnet.analysis.figures import choose_block
from gcnet.explorer.drawing import FORMS, colour_tables, figure_file, picture_png
from gcnet.explorer.gallery import Gallery
from gcnet.explorer.guard import Guard
from gcnet.explorer.numbers import block_numbers, newest_audit
from gcnet.explorer.passes import Pass, Passes
from gcnet.explorer.pictures import MOST_BYTES, Unknown
from gcnet.study.subject import Subject


def build_app(subjects: Sequence[Subject], gallery: Gallery, host: str = "127.0.0.1") -> Guard:
    """The application for one network or two.

    Args:
        subjects: the networks.
        gallery: pictures to choose from.
        host: that it is served on; requests for other names are refused.

    Example:
        >>> from starlette.testclient import TestClient
        >>> client = TestClient(build_app([], Gallery()), base_url="http://localhost")
        >>> client.get("/").status_code, client.get("/api/passes/0/f0").json()
        (200, {'error': 'model 0 is not there'})
    """
    app = FastAPI(title="gcnet explore", docs_url=None, redoc_url=None, openapi_url=None)
    passes = [Passes(subject) for subject in subjects]

    def run(model: int, image: str) -> Pass:
        if not 0 <= model < len(passes):
            raise Unknown(f"model {model} is not there")
        return passes[model](image, lambda subject: gallery.see(image, subject))

    @app.get("/api/start")
    def start() -> dict[str, Any]:
        return {
            "models": [{name: getattr(subject, name) for name in ("name", "kind", "trained")} for subject in subjects],
            "images": gallery.entries(),
            "most_bytes": MOST_BYTES,
            "colours": colour_tables(),
        }

    @app.post("/api/images")
    async def upload(request: Request, name: str = "image") -> dict[str, str]:
        content = await _bounded(request)
        return {"id": await run_in_threadpool(gallery.add, content, name[:100])}

    @app.get("/api/images/{image}/thumbnail")
    def thumbnail(image: str) -> Response:
        return Response(gallery.thumbnail(image), media_type="image/jpeg")

    @app.get("/api/passes/{model}/{image}")
    def describe(model: int, image: str) -> dict[str, Any]:
        seen = run(model, image)
        height, width = seen.view.picture.shape[-2:]
        return {
            "name": gallery.name(image),
            "width": width,
            "height": height,
            "frames": seen.frames,
            "prediction": [{"name": name, "probability": share} for name, share in seen.prediction],
            "block": choose_block({path: record for path, record in seen.maps.items() if not seen.hidden(path)}),
            "blocks": [_block(seen, record) for record in seen.maps.values()],
        }

    @app.get("/api/passes/{model}/{image}/picture")
    def picture(model: int, image: str) -> Response:
        return Response(picture_png(run(model, image).view.picture), media_type="image/png")

    @app.get("/api/passes/{model}/{image}/row")
    def row(model: int, image: str, block: str, query: int, head: int | None = None) -> Response:
        weights = run(model, image).row(block, query, head)
        return Response(weights.numpy().astype("<f4").tobytes(), media_type="application/octet-stream")

    @app.get("/api/passes/{model}/{image}/numbers")
    def numbers(model: int, image: str, block: str, head: int | None = None) -> dict[str, Any]:
        measured = passes[model].audit(run(model, image), block)
        known = newest_audit(subjects[model].run)
        return {"image": block_numbers(measured, block, head), "audit": block_numbers(known, block, head)}

    @app.get("/api/passes/{model}/{image}/figure")
    def figure(
        model: int, image: str, block: str, query: int, form: Literal["png", "svg", "pdf"], head: int | None = None
    ) -> Response:
        content = figure_file(run(model, image), block, query, head, form)
        return Response(content, media_type=FORMS[form], headers={"Content-Disposition": "attachment"})

    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Unknown, lambda _, error: _error(404, str(error)))
    app.add_exception_handler(ValueError, lambda _, error: _error(422, str(error)))
    app.add_exception_handler(Exception, _failure)
    app.mount("/", StaticFiles(directory=str(files("gcnet.explorer") / "static"), html=True))
    return Guard(app, host)


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


def _block(seen: Pass, record: Captured) -> dict[str, Any]:
    names = ("path", "kind", "size", "key_size", "heads", "prefix", "key_prefix", "reach", "pooled", "softmax")
    return {**{name: getattr(record, name) for name in names}, "hidden": seen.hidden(record.path)}


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


def _http(request: Request, error: Any) -> JSONResponse:
    return _error(error.status_code, error.detail)


def _invalid(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    return _error(422, f"{first['loc'][-1]}: {first['msg']}")


def _failure(request: Request, error: Any) -> JSONResponse:
    return _error(500, "this failed; the terminal that the explorer runs in says why")
