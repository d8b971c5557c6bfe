"""Downloads, from a server on this machine."""

import hashlib
import http.server
import threading

import pytest
import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.reader import read
from tests.checkpoints.files import torch_zip

DATA = torch_zip()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path == "/missing.pth":
            self.send_error(404)
            return
        if self.path == "/elsewhere.pth":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/model.pth")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if self.path == "/page.pth" else "application/octet-stream")
        if self.path != "/unsized.pth":
            self.send_header("Content-Length", str(len(DATA) + 9 * (self.path == "/cut.pth")))
        self.end_headers()
        self.wfile.write(DATA)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        running.requests = []
        running.cache = tmp_path / "hub" / "checkpoints" / "gcnet"
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_is_kept(server):
    for _ in range(2):
        contents = read(f"{server.url}/model.pth?download=1", sha256=hashlib.sha256(DATA).hexdigest()[:8])
        assert contents.metadata["epoch"] == 12
    assert server.requests == ["/model.pth?download=1"]


def test_a_cached_file_with_another_hash_is_fetched_again(server):
    read(f"{server.url}/model.pth")
    (cached,) = server.cache.iterdir()
    cached.write_bytes(b"broken")
    read(f"{server.url}/model.pth", sha256=hashlib.sha256(DATA).hexdigest())
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("missing.pth", {}, "the server answers 404"),
        ("page.pth", {}, "a web page"),
        ("cut.pth", {}, "the connection ended after"),
        ("elsewhere.pth", {}, "redirected to ftp"),
        ("model.pth", {"max_bytes": 100}, "more than max_bytes=100"),
        ("unsized.pth", {"max_bytes": 100}, "more than max_bytes=100"),
        ("model.pth", {"sha256": "0" * 64}, "its sha256 is"),
    ],
)
def test_failures_are_named_and_leave_nothing(server, name, options, message):
    with pytest.raises(CheckpointError, match=message) as raised:
        read(f"{server.url}/{name}", **options)
    assert server.url in str(raised.value)
    assert not list(server.cache.iterdir())


def test_no_server():
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        read("http://127.0.0.1:1/model.pth")
