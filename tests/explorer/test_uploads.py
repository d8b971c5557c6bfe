"""Images that are given to the explorer: hostile ones are refused, odd ones are shown as training would see them."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("lightning")

from fastapi.testclient import TestClient

from gcnet.explorer import pictures
from gcnet.explorer.app import build_app
from gcnet.explorer.gallery import MOST_UPLOADS, Gallery
from tests.explorer.asking import encoded, refused
from tests.explorer.networks import SIDE, make_subject, photo, see


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no image in one of the formats"),
        (b"<svg onload='alert(1)'/>", "no image in one of the formats"),
        (b"\x89PNG\r\n\x1a\n", "no image"),
        (encoded(photo())[:-200], "cannot be decoded"),
        (encoded(photo(), "TIFF"), "no image in one of the formats"),
        (encoded(photo(), "GIF", save_all=True, append_images=[photo(1)]), "an animation"),
        (encoded(photo(), "PNG", save_all=True, append_images=[photo(1)]), "an animation"),
        (encoded(Image.new("1", (8000, 7000))), "more than 50 million pixels (8000 x 7000)"),
        (encoded(Image.new("1", (20000, 20000))), "more than 50 million pixels"),
        (encoded(Image.new("1", (1, 1_000_000))), "(1 x 1000000) is more than 20 times as long as wide"),
    ],
    ids=["empty", "svg", "header", "truncated", "tiff", "gif", "apng", "large", "bomb", "thread"],
)
def test_hostile_uploads(client, content, words):
    refused(client.post("/api/images", params={"name": "x.png"}, content=content), 422, words)
    assert len(client.get("/api/start").json()["images"]) == 2


def test_an_upload_that_is_too_long_is_not_read(client, monkeypatch):
    refused(client.post("/api/images", content=b"", headers={"content-length": str(2**40)}), 413, "20 MiB")
    refused(client.post("/api/images", content=b"", headers={"content-length": "-1"}), 413, "20 MiB")
    monkeypatch.setattr("gcnet.explorer.app.MOST_BYTES", 3 * 2**20)
    refused(client.post("/api/images", content=(bytes(2**20) for _ in range(4))), 413, "3 MiB")


def test_an_upload_that_breaks_off_is_no_failure(client):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    sent, headers = [], [(b"host", b"localhost"), (b"content-length", b"9")]
    scope = {"type": "http", "method": "POST", "path": "/api/images", "query_string": b"", "headers": headers}
    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 400


def rotated():
    turned = photo(0).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(turned, exif=exif)


@pytest.mark.parametrize(
    ("content", "same"),
    [
        (rotated(), True),
        (encoded(photo(0).convert("CMYK"), "JPEG", quality=95), False),
        (encoded(photo(0).convert("L")), False),
        (encoded(photo(0).convert("RGBA")), True),
        (encoded(photo(0).quantize()), False),
        (encoded(Image.fromarray(np.full((70, 80), 40000, np.uint16))), False),
        (encoded(photo(0), "WEBP", lossless=True), True),
        (encoded(Image.new("RGB", (25, 500))), False),
    ],
    ids=["exif", "cmyk", "grey", "alpha", "palette", "16 bits", "webp", "narrow"],
)
def test_odd_but_sound_uploads(client, content, same):
    key = client.post("/api/images", params={"name": "x"}, content=content).json()["id"]
    assert client.get("/api/start").json()["images"][0] == {"id": key, "name": "x"}
    assert client.get(f"/api/images/{key}/thumbnail").headers["content-type"] == "image/jpeg"
    shown = np.asarray(Image.open(io.BytesIO(client.get(f"/api/passes/0/{key}/picture").content)))
    assert shown.shape == (SIDE, SIDE, 3)
    assert not same or (shown == see(photo(0)).picture.permute(1, 2, 0).numpy()).all()


def test_old_uploads_leave(client):
    keys = [client.post("/api/images", content=encoded(photo(0))).json()["id"] for _ in range(MOST_UPLOADS + 1)]
    refused(client.get(f"/api/passes/0/{keys[0]}/picture"), 404, "no longer")
    assert client.get(f"/api/passes/0/{keys[1]}/picture").status_code == 200


def test_videos_cannot_be_uploaded(folder):
    app = build_app([make_subject(kind="video")], Gallery(kind="video"))
    client = TestClient(app, base_url="http://127.0.0.1")
    refused(client.post("/api/images", content=encoded(photo())), 422, "--images")


def test_pixels_are_bounded_before_decoding(monkeypatch):
    monkeypatch.setattr(pictures, "to_rgb", lambda picture: pytest.fail("decoded"))
    with pytest.raises(pictures.Refused, match="million pixels"):
        pictures.read_picture(encoded(Image.new("1", (8000, 7000))), "x.png")
