"""Images and clips in folders of classes: one thing broken at a time, and found."""

import shutil

import pytest

pytest.importorskip("sklearn")

from gcnet.training.data_check.check import check_data
from gcnet.training.scenes.classification import ClassificationScenes
from gcnet.training.scenes.make import make_scenes
from gcnet.training.scenes.video import VideoScenes
from tests.training.data_check.found import errors, warnings


@pytest.fixture
def photos(tmp_path):
    return make_scenes("classification", tmp_path / "scenes", ClassificationScenes(train=12, val=8))


@pytest.fixture
def clips(tmp_path):
    return make_scenes("video", tmp_path / "scenes", VideoScenes(train=16, val=12, seed=1))


def first(folder):
    return min(folder.iterdir())


@pytest.mark.parametrize(("kind", "task"), [("photos", "classification"), ("clips", "video")])
def test_sound_data(kind, task, request):
    report = check_data(request.getfixturevalue(kind))
    assert (report.task, report.errors, report.warnings) == (task, [], [])


def test_broken_images(photos):
    empty, cut, text = sorted((photos / "train").rglob("*.png"))[:3]
    empty.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:-200])
    text.write_text("no picture")
    report = check_data(photos)
    assert [kind for kind, _ in errors(report)] == ["unreadable image"] * 3
    assert report.errors[0].message == "it is empty"


def test_broken_clips(clips):
    cut, noise, empty = sorted((clips / "train").rglob("*.mp4"))[:3]
    cut.write_bytes(cut.read_bytes()[:-2000])
    content = bytearray(noise.read_bytes())
    content[4000:9000] = bytes(5000)
    noise.write_bytes(content)
    empty.write_bytes(b"")
    report = check_data(clips)
    assert [kind for kind, _ in errors(report)] == ["unreadable video"] * 3


def test_cut_matroska(clips, tmp_path):
    """A container that can be read from its beginning tells by its duration that something is missing."""
    import av
    import numpy as np

    path = first(clips / "train" / "up").with_name("long.mkv")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        rng = np.random.default_rng(0)
        for _ in range(40):
            frame = av.VideoFrame.from_ndarray(rng.integers(255, size=(64, 64, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert errors(check_data(clips)) == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    report = check_data(clips)
    assert errors(report) == [("unreadable video", "train/up/long.mkv")]
    assert "frames are missing after the first" in report.errors[0].message


def test_empty_class(photos):
    for split in ("train", "val"):
        (photos / split / "grey").mkdir()
    assert errors(check_data(photos)) == [("empty class", "train/grey"), ("empty class", "val/grey")]


def test_classes_that_differ(photos):
    shutil.move(photos / "val" / "darker", photos / "train" / "dark")
    found = errors(check_data(photos))
    assert ("class missing in a split", "val") in found
    assert ("one class only", "val") in found


def test_missing_validation(photos):
    shutil.rmtree(photos / "val")
    assert errors(check_data(photos)) == [("missing split", str(photos))]


def test_classes_without_splits(photos):
    folder = photos / "train"
    assert check_data(folder).errors == []
    for path in list((folder / "darker").iterdir())[1:]:
        path.unlink()
    assert errors(check_data(folder)) == [("too small class", "darker")]


def test_images_without_classes(photos):
    report = check_data(photos / "train" / "darker")
    assert [kind for kind, _ in errors(report)] == ["no class folder"]


def test_same_bytes(photos):
    source = first(photos / "train" / "darker")
    shutil.copy(source, photos / "val" / "darker" / "copy.png")
    shutil.copy(source, photos / "train" / "brighter" / "copy.png")
    report = check_data(photos)
    assert report.errors == []
    assert warnings(report) == [
        ("same file in two splits", "val/darker/copy.png"),
        ("same file in two classes", "train/darker/" + source.name),
    ]


def test_unused_files(photos):
    (photos / "train" / "notes.txt").write_text("mine")
    (photos / "train" / ".hidden").write_text("mine")
    assert warnings(check_data(photos)) == [("unused file", "train/notes.txt")]


@pytest.mark.parametrize("linked", ["train", "train/darker"])
def test_linked_folders_are_read(photos, tmp_path, linked):
    elsewhere = tmp_path / "elsewhere"
    (photos / linked).rename(elsewhere)
    (photos / linked).symlink_to(elsewhere)
    picture = first(photos / "train" / "darker")
    picture.write_bytes(b"")
    assert errors(check_data(photos)) == [("unreadable image", picture.relative_to(photos).as_posix())]


def test_folders_of_links_alone_are_recognised(photos, tmp_path):
    root = tmp_path / "linked"
    root.mkdir()
    for split in ("train", "val"):
        (root / split).symlink_to(photos / split)
    report = check_data(root)
    assert (report.task, report.errors, report.counts["train images"]) == ("classification", [], 12)
