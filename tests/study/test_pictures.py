"""Which pictures of a folder are looked at."""

import dataclasses

import pytest
import torch
from PIL import Image
from torch import nn

pytest.importorskip("lightning")

from gcnet.recipes.scenes_segmentation import scenes_segmentation
from gcnet.study.pictures import find_pictures, views
from gcnet.study.sight import whole
from gcnet.study.subject import Subject, open_subject
from gcnet.training.classification.image_folder import find_images
from gcnet.training.scenes.make import SceneSettings, make_scenes
from tests.study.saved_runs import photo_config, save_run
from tests.training.classification.photos import write_shards


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
    with pytest.raises(FileNotFoundError, match=r"no video files there \(.*mp4"):
        find_pictures(subject("video"), tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        find_pictures(subject(), tmp_path / "nowhere")


def class_folders(root, classes=("cat", "dog")):
    for name in classes:
        for number in range(10):
            write(root / name / f"{number}.png")
    return root


def test_a_run_without_a_val_folder_is_shown_what_it_validates_on(tmp_path):
    data = class_folders(tmp_path / "data")
    save_run(tmp_path / "run", photo_config(data))
    found = find_pictures(open_subject(str(tmp_path / "run")), data)
    assert found == [path for path, _ in find_images(data).files.val]
    assert len(found) == 4


@pytest.mark.parametrize("classes", [("beach", "party"), ("cat", "dog")])
def test_other_folders_are_taken_whole(tmp_path, classes):
    save_run(tmp_path / "run", photo_config(class_folders(tmp_path / "data")))
    other = class_folders(tmp_path / "albums", classes)
    assert len(find_pictures(open_subject(str(tmp_path / "run")), other)) == 20


def test_data_without_files(tmp_path):
    data = write_shards(tmp_path / "shards")
    save_run(tmp_path / "run", photo_config(data), ("blue", "red"))
    with pytest.raises(FileNotFoundError, match=r"shards: no image files there .*; name a folder that has some"):
        find_pictures(open_subject(str(tmp_path / "run")), data)


def test_masks_are_no_pictures(tmp_path):
    data = make_scenes("segmentation", tmp_path / "scenes", SceneSettings(train=3, val=2))
    of_val = sorted((data / "val" / "images").iterdir())
    config = dataclasses.replace(scenes_segmentation(data), block="gc")
    save_run(tmp_path / "run", config, ("background", "threes", "shapes"))
    assert find_pictures(open_subject(str(tmp_path / "run")), data) == of_val
    assert find_pictures(subject(), data) == of_val
    assert find_pictures(subject(), data / "val") == of_val
    assert len(find_pictures(subject(), data / "train")) == 3


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/validation/a/1.jpg", "annotations/validation/a/1.png"),
        ("leftImg8bit/val/ulm/1_leftImg8bit.png", "gtFine/val/ulm/1_gtFine_labelIds.png"),
        ("images/1.png", "masks/1.png"),
    ],
)
def test_masks_in_other_layouts(tmp_path, image, mask):
    write(tmp_path / image)
    write(tmp_path / mask)
    assert find_pictures(subject(), tmp_path) == [tmp_path / image]
    assert find_pictures(subject(), (tmp_path / mask).parent) == [tmp_path / mask]


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
