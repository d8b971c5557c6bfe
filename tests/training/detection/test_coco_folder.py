"""Where annotations and images are found, and what is said where they are not."""

import pytest
from PIL import Image

pytest.importorskip("lightning")

from gcnet.training.detection.coco_folder import read_folder
from tests.training.detection.configs import config
from tests.training.detection.shapes import make_coco, read, write


@pytest.fixture
def root(tmp_path):
    return make_coco(tmp_path)


def test_the_layout_of_coco(root):
    train, val = read_folder(config(root))
    assert (train.folder, val.folder) == (root / "train", root / "val")
    assert (len(train.images), len(val.images)) == (4, 2)


def test_names_with_a_year_and_images_in_a_folder_of_their_own(root):
    (root / "images").mkdir()
    for split in ("train", "val"):
        annotations = root / "annotations" / f"instances_{split}.json"
        annotations.rename(annotations.with_stem(f"instances_{split}2017"))
        (root / split).rename(root / "images" / f"{split}2017")
    train, val = read_folder(config(root))
    assert (train.folder.name, val.path.name) == ("train2017", "instances_val2017.json")


def test_annotations_beside_their_images(root):
    for split in ("train", "val"):
        (root / "annotations" / f"instances_{split}.json").rename(root / split / "_annotations.coco.json")
    (root / "val").rename(root / "valid")
    assert read_folder(config(root))[1].folder == root / "valid"


def test_several_files_are_a_choice(root):
    annotations = root / "annotations/instances_train.json"
    (root / "annotations/instances_train_small.json").write_bytes(annotations.read_bytes())
    with pytest.raises(ValueError, match=r"several files of train annotations .* choose one with train_annotations"):
        read_folder(config(root))
    chosen = config(root, train_annotations="annotations/instances_train_small.json", train_images="train")
    assert read_folder(chosen)[0].path.name == "instances_train_small.json"


def test_no_annotations(root):
    (root / "annotations/instances_val.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"instances_val\*\.json .* val_annotations"):
        read_folder(config(root))


def test_no_images(root):
    (root / "train").rename(root / "pictures")
    with pytest.raises(FileNotFoundError, match=r"1\.png, the first image .* name its folder with train_images"):
        read_folder(config(root))
    assert read_folder(config(root, train_images="pictures"))[0].folder == root / "pictures"


def test_a_missing_image_is_named(root):
    (root / "train/3.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of its 4 images are missing, such as .*train/3\.png"):
        read_folder(config(root))


def test_sizes_are_checked_before_training(root):
    Image.new("RGB", (48, 64)).save(root / "train/2.png")
    with pytest.raises(ValueError, match=r"2\.png: is 48 pixels wide and 64 high .* for 64 and 48"):
        read_folder(config(root))
    read_folder(config(root, check_files=False))


def test_an_image_of_which_scaling_would_leave_nothing(root):
    content = read(root, "train")
    content["images"][0].update(width=1, height=2000)
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] != 101]
    write(root, "train", content)
    with pytest.raises(ValueError, match=r"1\.png: 2000 pixels by 1 is too thin .* max_size=96"):
        read_folder(config(root))


def test_unusable_annotations_are_errors_or_left_out_on_request(root):
    content = read(root, "train")
    content["annotations"][0]["bbox"][2] = 0
    write(root, "train", content)
    with pytest.raises(ValueError, match=r"1 annotations cannot be used, such as .*on_broken='skip'"):
        read_folder(config(root))
    assert len(read_folder(config(root, on_broken="skip"))[0].invalid) == 1


def test_training_and_validation_name_the_same_categories(root):
    content = read(root, "val")
    content["categories"][0]["name"] = "ring"
    write(root, "val", content)
    with pytest.raises(ValueError, match=r"its categories differ .* with id 8"):
        read_folder(config(root))


def test_nothing_but_crowds(root):
    content = read(root, "val")
    for entry in content["annotations"]:
        entry["iscrowd"] = 1
    write(root, "val", content)
    with pytest.raises(ValueError, match="has no object that is not a crowd"):
        read_folder(config(root))


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data=.*nowhere: no such folder"):
        read_folder(config(tmp_path / "nowhere"))
