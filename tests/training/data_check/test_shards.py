"""Shards: one thing broken at a time, and found."""

import io
import json
import tarfile

import pytest
from PIL import Image

from gcnet.training.data_check.check import check_data
from tests.training.data_check.found import errors, warnings


def picture(value):
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(content, "PNG")
    return content.getvalue()


def write(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.fixture
def root(tmp_path):
    for split, grey in (("train", 0), ("val", 100)):
        cat = [("x.png", picture(grey + 1)), ("x.cls", b"cat")]
        dog = [("y.png", picture(grey + 2)), ("y.cls", b"dog")]
        write(tmp_path / f"{split}-000.tar", cat + dog)
    return tmp_path


def test_sound_data(root):
    report = check_data(root)
    assert (report.task, report.errors, report.warnings) == ("classification", [], [])
    assert report.counts == {"train shards": 1, "train images": 2, "val shards": 1, "val images": 2, "classes": 2}


def test_samples_that_cannot_be_used(root):
    write(root / "train-001.tar", [("a.cls", b"cat"), ("b.png", picture(7)), ("c.png", b"no"), ("c.cls", b"dog")])
    found = errors(check_data(root))
    assert found == [("unreadable sample", f"train-001.tar: {key}") for key in "abc"]


def test_cut_shard(root):
    path = root / "val-000.tar"
    path.write_bytes(path.read_bytes()[:700])
    assert ("unreadable shard", "val-000.tar") in errors(check_data(root))


def test_classes_that_differ(root):
    write(root / "val-001.tar", [("z.png", picture(200)), ("z.cls", b"bird")])
    assert errors(check_data(root)) == [("class missing in a split", "train shards")]


def test_missing_validation(root):
    (root / "val-000.tar").unlink()
    assert ("missing split", str(root)) in errors(check_data(root))


def test_keys_and_bytes_given_twice(root):
    write(root / "train-001.tar", [("x.png", picture(101)), ("x.cls", b"cat")])
    assert warnings(check_data(root)) == [
        ("key used twice", "train shards"),
        ("same file in two splits", "val-000.tar: x"),
    ]


def test_wrong_sizes(root):
    (root / "sizes.json").write_text(json.dumps({"train-000.tar": 3, "val-000.tar": 2}))
    assert errors(check_data(root)) == [("sizes.json", "train-000.tar")]
