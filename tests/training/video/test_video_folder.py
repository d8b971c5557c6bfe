from pathlib import Path

import pytest

from gcnet.training.video.video_folder import check_videos, find_videos, read_list
from tests.training.video.files import cut, write_video
from tests.training.video.settings import settings


@pytest.fixture
def clips(tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b b.MKV", "c.avi", "d.mp4"):
        (tmp_path / "clips" / name).touch()
    return tmp_path


def _list(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_class_folders(tmp_path):
    for name in ("train/wave/1.mp4", "train/clap/2.webm", "val/wave/3.mp4", "val/clap/4.mov"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_videos(settings(tmp_path))
    assert found.classes == ("clap", "wave")
    assert [path.name for path, _ in found.train + found.val] == ["2.webm", "1.mp4", "4.mov", "3.mp4"]


def test_lists_with_names(clips):
    _list(clips / "train.txt", "clips/a.mp4 riding a bike", "", "clips/b b.MKV,wave", f"{clips}/clips/c.avi\twave")
    _list(clips / "val.csv", "clips/d.mp4, wave")
    found = find_videos(settings(clips))
    assert found.classes == ("riding a bike", "wave")
    assert [(path.name, label) for path, label in found.train] == [("a.mp4", 0), ("b b.MKV", 1), ("c.avi", 1)]
    assert [(path.name, label) for path, label in found.val] == [("d.mp4", 1)]


def test_lists_elsewhere_with_numbers(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    train = _list(folder / "mine.txt", "a.mp4 10", "b b.MKV 2", "c.avi 2", "d.mp4 10")
    config = settings(clips / "clips", train_list=train, val_list=train)
    found = find_videos(config)
    assert found.classes == ("2", "10")
    assert found.train == found.val
    split = find_videos(settings(clips / "clips", train_list=train))
    assert sorted(path.name for path, _ in split.train + split.val) == ["a.mp4", "b b.MKV", "c.avi", "d.mp4"]
    assert len(split.val) == 2


def test_lists_are_looked_for_in_the_data(clips):
    _list(clips / "some.txt", "clips/a.mp4 x", "clips/c.avi y")
    assert len(find_videos(settings(clips, train_list=Path("some.txt"), val_list=Path("some.txt"))).val) == 2
    with pytest.raises(FileNotFoundError, match=r"train_list=none.txt: no such file, here or in"):
        find_videos(settings(clips, train_list=Path("none.txt")))


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (["clips/a.mp4"], ValueError, r"list.txt, line 1: 'clips/a.mp4' is no path of a video and a label"),
        (["clips/a.mp4 x", "clips/a.txt x"], ValueError, "line 2: 'clips/a.txt x' is no path"),
        (["clips/e.mp4 x"], FileNotFoundError, r"line 1: there is no .*/clips/e.mp4"),
        (
            ["clips/a.mp4 x", "clips/c.avi y", "clips/a.mp4 y"],
            ValueError,
            "line 3: clips/a.mp4 stands in line 1 already",
        ),
        ([""], ValueError, "names no video"),
    ],
)
def test_errors_of_lists(clips, lines, error, message):
    with pytest.raises(error, match=message):
        read_list(_list(clips / "list.txt", *lines), clips)


def test_lists_are_utf8(clips):
    path = clips / "list.txt"
    path.write_text("clips/a.mp4 grün", encoding="latin-1")
    with pytest.raises(ValueError, match=r"list.txt: is no text in UTF-8"):
        read_list(path, clips)


def test_labels_must_agree(clips):
    train, val = _list(clips / "t.txt", "clips/a.mp4 x", "clips/c.avi y"), _list(clips / "v.txt", "clips/d.mp4 z")
    with pytest.raises(ValueError, match=r"v.txt: label 'z' does not occur in .*t.txt"):
        find_videos(settings(clips, train_list=train, val_list=val))
    with pytest.raises(ValueError, match="names one class only"):
        find_videos(settings(clips, train_list=val))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_videos(settings(clips / "none"))


def test_every_file_is_looked_at(tmp_path):
    good = write_video(tmp_path / "good.mp4")
    short = cut(write_video(tmp_path / "short.mkv", range(60)), 0.6)
    bad, empty = tmp_path / "bad.mp4", tmp_path / "empty.mp4"
    bad.write_text("not a video")
    empty.touch()
    remarks = check_videos([good, short])
    assert len(remarks) == 1
    assert remarks[0].startswith(f"{short} with ")
    with pytest.raises(ValueError, match=r"bad.mp4: .*; 1 more files have such a problem. Repair or remove it"):
        check_videos([good, bad, empty])
    assert check_videos([good, bad, short], skip=True) == remarks
