"""Asking the server of the explorer, and what a refusal looks like."""

import io

from fastapi.testclient import TestClient

from gcnet.explorer.app import build_app
from gcnet.explorer.gallery import Gallery


def make_client(folder, *subjects, files=None):
    app = build_app(subjects, Gallery(folder, sorted(folder.iterdir()) if files is None else files))
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def encoded(picture, form="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def refused(answer, status, words):
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]
    assert words in message
    assert "Traceback" not in answer.text
    return message
