"""``gcnet attend`` on small runs of images and videos."""

import dataclasses
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("tyro")
pytest.importorskip("lightning")

from gcnet.study.attend_cli import attend
from tests.study.saved_runs import photo_config, save_run
from tests.training.video.files import moving_bar, write_video
from tests.training.video.settings import settings as video


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "nl"
    save_run(folder, photo_config(folder.parent, image_size=128))
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (150, 200, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def reported(words, capsys):
    capsys.readouterr()
    assert attend([*map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_figure_of_a_folder(run, pictures, tmp_path, capsys):
    out = tmp_path / "new" / "a.png"
    assert attend([str(run), str(pictures), "--most", "2", "--out", str(out), "--format", "png,svg,pdf"]) == 0
    printed = capsys.readouterr().out
    assert "layer3.0.context_block (non_local)" in printed
    assert "2 of 5 images, evenly spaced" in printed
    for name in ("a.png", "a.svg", "a.pdf"):
        assert (out.parent / name).stat().st_size > 1000
        assert name in printed
    texts = {"".join(node.itertext()) for node in ElementTree.parse(out.with_suffix(".svg")).iter()}
    assert {"query 1", "query 2", "query 3", "mean map"} <= texts


def test_numbers_are_those_of_the_block(run, pictures, tmp_path, capsys):
    from gcnet.study.subject import open_subject

    report = reported([run, pictures / "0.png", "--queries", "10,20;127,0", "--out", tmp_path / "a.pdf"], capsys)
    (picture,) = report["pictures"]
    assert [one["query"] for one in picture["queries"]] == [{"y": 20, "x": 10}, {"y": 0, "x": 127}]
    subject = open_subject(str(run))
    seen = {}
    block = subject.net.get_submodule(report["block"])
    handle = block.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
    subject(subject.see(pictures / "0.png").input[None])
    handle.remove()
    height, width = seen["x"].shape[-2:]
    row = block.attention_map(seen["x"])[0][20 * height // 128 * width + 10 * width // 128].double()
    first = picture["queries"][0]
    assert first["largest"]["weight"] == pytest.approx(float(row.max()), rel=1e-4)
    assert first["effective_positions"] == pytest.approx(float(torch.special.entr(row).sum().exp()), rel=1e-4)
    assert first["positions"] == height * width


def test_another_model_beside(run, pictures, tmp_path, capsys):
    gc = dataclasses.replace(photo_config(tmp_path, image_size=128), block="gc", ratio=1 / 4, block_options=())
    save_run(tmp_path / "gc", gc)
    words = [pictures / "0.png", "--out", tmp_path / "a.svg"]
    report = reported([run, *words, "--beside", tmp_path / "gc"], capsys)
    assert report["beside"] == {"model": str(tmp_path / "gc"), "block": "layer3.0.context_block"}
    texts = {"".join(node.itertext()) for node in ElementTree.parse(tmp_path / "a.svg").iter()}
    assert "GC block" in texts
    assert reported([tmp_path / "gc", *words], capsys)["pictures"][0]["queries"][0]["query"] is None


def test_a_strip_of_a_video(tmp_path, capsys):
    save_run(tmp_path / "run", video(tmp_path, block="nl", ratio=1 / 2))
    path = write_video(tmp_path / "a.mp4", moving_bar(1, 0))
    report = reported([tmp_path / "run", path, "--queries", "1,8,8", "--out", tmp_path / "a.png"], capsys)
    (query,) = report["pictures"][0]["queries"]
    assert query["query"] == {"t": 1, "y": 8, "x": 8}
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "--queries 500,3",
            r"queries: '500,3' is out of range: x=500, but x goes from 0 to 127 here; looking at .*0.png",
        ),
        ("--block layer9", "block='layer9' is not one of 'layer3.0.context_block'"),
        ("--head 1", "head=1: layer3.0.context_block has one head, 0"),
        ("--format png,gif", "format='gif' is not one of 'png', 'svg', 'pdf'"),
        ("--out a.jpg", "suffix='.jpg' is not one of"),
        ("--width 3", "width=3 cm is too narrow"),
        ("--beside nowhere/run", "nowhere/run"),
        ("--beside-weights pretrained", "beside_weights=pretrained: goes with --beside MODEL"),
        ("--most 0", "most=0 must be at least 1"),
    ],
)
def test_mistakes_are_one_line(options, message, run, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert attend([str(run), str(pictures / "0.png"), *options.split()]) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert re.search(message, printed.err), printed.err
    assert not printed.out
    assert not list(tmp_path.glob("attention*"))


def test_files_that_are_no_pictures(run, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for words, message in (
        ([tmp_path / "broken.png"], "broken.png: cannot be decoded"),
        ([tmp_path / "none.png"], "none.png: no such file or folder"),
        ([], "give images, or a folder of them, after the model"),
    ):
        assert attend([str(run), *map(str, words), "--out", str(tmp_path / "a.png")]) == 2
        assert message in capsys.readouterr().err


def test_broken_pictures_of_a_folder_are_left_out(run, pictures, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "0.png").write_bytes(b"no picture")
    (tmp_path / "photos" / "1.png").write_bytes((pictures / "1.png").read_bytes())
    report = reported([run, tmp_path / "photos", "--out", tmp_path / "a.png"], capsys)
    assert [picture["file"] for picture in report["pictures"]] == [str(tmp_path / "photos" / "1.png")]
    assert any("left out" in note and "0.png" in note for note in report["notes"])
    (tmp_path / "photos" / "1.png").unlink()
    assert attend([str(run), str(tmp_path / "photos"), "--out", str(tmp_path / "b.png")]) == 2
    assert "none of 1 files can be read; left out" in capsys.readouterr().err


def test_a_network_without_attention(pictures, tmp_path, capsys):
    assert attend(["resnet18", str(pictures / "0.png"), "--size", "64", "--out", str(tmp_path / "a.png")]) == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert "this ResNet has no attention" in message
    assert "gcnet train classification --block nl" in message
