"""Which pictures of a folder are looked at."""

import pytest
import torch
from PIL import Image
from torch import nn

pytest.importorskip("lightning")

from gcnet.study.pictures import find_pictures, views
from gcnet.study.sight import whole
from gcnet.study.subject import Subject


def subject(kind="image"):
    return Subject("net", nn.Conv2d(3, 2, 1), whole(None, (0, 0, 0), (1, 1, 1)), nn.Conv2d(3, 2, 1), kind=kind)


def write(path, size=(4, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def test_the_validation_part_comes_first(tmp_path):
    for name in ("train/a/1.png", "val/a/2.png", "val/b/3.jpg"):
        write(tmp_path / name)
    assert [path.name for path in find_pictures(subject(), tmp_path)] == ["2.png", "3.jpg"]
    assert [path.name for path in find_pictures(subject(), tmp_path / "train")] == ["1.png"]
    assert find_pictures(subject(), tmp_path / "val/a/2.png") == [tmp_path / "val/a/2.png"]


def test_all_of_a_folder_without_parts_evenly_thinned(tmp_path):
    for number in range(9):
        write(tmp_path / f"{number}.png")
    assert len(find_pictures(subject(), tmp_path)) == 9
    assert [path.stem for path in find_pictures(subject(), tmp_path, most=3)] == ["0", "4", "8"]


def test_no_pictures(tmp_path):
    write(tmp_path / "1.png")
    with pytest.raises(FileNotFoundError, match=r"no videos there \(.*mp4"):
        find_pictures(subject("video"), tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        find_pictures(subject(), tmp_path / "nowhere")


def test_batches_hold_pictures_of_one_shape_and_leave_out_what_is_broken(tmp_path):
    sizes = {"a": (4, 4), "b": (6, 4), "c": (4, 4), "d": (4, 4)}
    for name, size in sizes.items():
        write(tmp_path / f"{name}.png", size)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = []
    batches = list(views(subject(), find_pictures(subject(), tmp_path), 2, broken))
    assert [[view.name for view in batch] for batch in batches] == [["a.png", "c.png"], ["b.png"], ["d.png"]]
    assert all(torch.stack([view.input for view in batch]).shape[0] == len(batch) for batch in batches)
    assert len(broken) == 1
    assert "broken.png" in broken[0]
