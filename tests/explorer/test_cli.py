"""``gcnet explore``: what it opens and refuses, without serving."""

import socket

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("lightning")

from gcnet.explorer import cli
from tests.explorer.networks import make_subject, photo


@pytest.fixture
def served(monkeypatch):
    """What would be served, and where; pages that would be opened."""
    seen = {"opened": []}

    class Server:
        def __init__(self, settings):
            seen["app"] = settings.app

        def run(self, sockets):
            seen["address"] = sockets[0].getsockname()

    monkeypatch.setattr(cli.uvicorn, "Server", Server)
    monkeypatch.setattr(cli.webbrowser, "open", seen["opened"].append)
    monkeypatch.setattr(
        cli, "open_subject", lambda name, **_: make_subject(kind="video" if "video" in name else "image")
    )
    return seen


def test_it_listens_on_this_machine_and_opens_a_page(served, tmp_path, capsys):
    photo().save(tmp_path / "a.png")
    assert cli.explore(["net", "--images", str(tmp_path)]) == 0
    address, port = served["address"]
    assert address == "127.0.0.1"
    assert served["opened"] == [f"http://127.0.0.1:{port}"]
    assert served["opened"][0] in capsys.readouterr().out


def test_another_host_is_warned_of(served, capsys):
    assert cli.explore(["net", "--host", "0.0.0.0", "--no-browser"]) == 0
    assert "no password" in capsys.readouterr().err
    assert not served["opened"]


def test_of_many_images_some_are_shown(served, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli, "MOST_IMAGES", 2)
    for index in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
    assert cli.explore(["net", "--images", str(tmp_path), "--no-browser"]) == 0
    assert "2 of the 3 images" in capsys.readouterr().out


def test_images_that_lie_elsewhere_are_counted(served, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in (folder / "a.png", tmp_path / "b.png"):
        photo().save(path)
    (folder / "link.png").symlink_to(tmp_path / "b.png")
    assert cli.explore(["net", "--images", str(folder), "--no-browser"]) == 0
    assert "1 links out of it are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net", "--images", "nowhere"], "images=nowhere: no such folder or file"),
        (["net", "a video"], "one sees images, the other videos"),
        (["a video"], "a folder of them"),
        (["net", "--port", "70000"], "port=70000 must lie between"),
        (["net", "--host", "192.0.2.1"], "(no address of this machine); try 127.0.0.1"),
    ],
)
def test_mistakes(served, capsys, words, message):
    assert cli.explore(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_port_in_use(served, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.explore(["net", "--port", str(taken.getsockname()[1])]) == 2
    assert "--port 0" in capsys.readouterr().err


def test_a_network_without_attention(capsys):
    assert cli.explore(["torchvision:resnet18", "--no-browser"]) == 2
    assert "torchvision:resnet18: this ResNet has no attention" in capsys.readouterr().err


def test_no_such_model(capsys):
    assert cli.explore(["resnet19", "--no-browser"]) == 2
    assert "resnet18" in capsys.readouterr().err


def test_pages_are_in_the_package():
    from importlib.resources import files

    static = files("gcnet.explorer") / "static"
    names = {path.name for path in static.iterdir()}
    assert {"index.html", "main.js", "style.css"} <= names
    assert "http" not in static.joinpath("index.html").read_text()
