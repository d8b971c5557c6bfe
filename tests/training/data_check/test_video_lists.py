"""Lists of videos."""

import shutil

import pytest

pytest.importorskip("sklearn")

from gcnet.training.data_check.check import check_data
from gcnet.training.scenes.make import make_scenes
from gcnet.training.scenes.video import VideoScenes
from tests.training.data_check.found import errors, warnings


@pytest.fixture
def root(tmp_path):
    made = make_scenes("video", tmp_path / "made", VideoScenes(train=8, val=4, frames=4, size=32, digits=4))
    root = tmp_path / "listed"
    (root / "clips").mkdir(parents=True)
    for split in ("train", "val"):
        lines = []
        for path in sorted((made / split).rglob("*.mp4"), key=lambda path: path.name):
            shutil.copy(path, root / "clips" / f"{split}{path.name}")
            lines.append(f"clips/{split}{path.name} {'level' if path.parent.name in ('left', 'right') else 'upright'}")
        (root / f"{split}.txt").write_text("\n".join(lines))
    return root


def test_sound_lists(root):
    report = check_data(root)
    assert (report.task, report.errors, report.warnings) == ("video", [], [])
    assert report.counts == {"train videos": 8, "val videos": 4, "classes": 2}


def test_broken_missing_and_unused_videos(root):
    (root / "clips" / "train00001.mp4").write_bytes(b"")
    (root / "clips" / "val00000.mp4").rename(root / "clips" / "other.mp4")
    report = check_data(root)
    assert errors(report) == [("unusable list", "val.txt"), ("unreadable video", "clips/train00001.mp4")]
    assert ("unused file", "clips/other.mp4") in warnings(report)


def test_classes_that_only_validation_has(root):
    (root / "val.txt").write_text("clips/val00000.mp4 round")
    assert errors(check_data(root)) == [("class missing in a split", "train")]
