"""Folders of images: what is found, how it is split, and which file is to blame."""

import pytest
from PIL import Image

pytest.importorskip("torchvision")

from gcnet.training.classification.image_folder import find_images


def make(folder, count=4, colour=(200, 30, 30)):
    folder.mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (20, 16), colour).save(folder / f"{index}.jpg")


@pytest.fixture
def split_root(tmp_path):
    for split, count in (("train", 4), ("val", 2)):
        for name in ("a", "b"):
            make(tmp_path / split / name, count)
    return tmp_path


def test_train_and_val(split_root):
    found = find_images(split_root)
    assert found.classes == ("a", "b")
    assert (len(found.train), len(found.val)) == (8, 4)
    assert all(path.parent.name == found.classes[label] for path, label in found.train + found.val)


def test_train_and_test(split_root):
    (split_root / "val").rename(split_root / "test")
    assert len(find_images(split_root).val) == 4


def test_single_folder_is_split_per_class_and_always_alike(tmp_path):
    make(tmp_path / "a", 10)
    make(tmp_path / "b", 5)
    first, second = find_images(tmp_path, 0.3), find_images(tmp_path, 0.3)
    assert first == second
    assert [sum(label == k for _, label in first.val) for k in (0, 1)] == [3, 2]
    assert not {path for path, _ in first.train} & {path for path, _ in first.val}


def test_hidden_folders_and_other_files_are_left_out(split_root):
    (split_root / "train" / ".thumbnails").mkdir()
    (split_root / "train" / "a" / "notes.txt").write_text("x")
    assert len(find_images(split_root).train) == 8


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data=.*nowhere: no such folder"):
        find_images(tmp_path / "nowhere")


def test_no_class_folders(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "loose.png")
    with pytest.raises(FileNotFoundError, match="holds no class folders"):
        find_images(tmp_path)


def test_no_validation(split_root):
    (split_root / "val").rename(split_root / "other")
    with pytest.raises(FileNotFoundError, match=r"neither val/ nor test/"):
        find_images(split_root)


def test_empty_class(split_root):
    (split_root / "train" / "c").mkdir()
    (split_root / "val" / "c").mkdir()
    with pytest.raises(FileNotFoundError, match=r"train.c: class folder without images"):
        find_images(split_root)


def test_classes_differ(split_root):
    make(split_root / "val" / "c")
    with pytest.raises(ValueError, match=r"train: class folder 'c' is missing"):
        find_images(split_root)


def test_one_class(tmp_path):
    make(tmp_path / "a")
    with pytest.raises(ValueError, match="one class only"):
        find_images(tmp_path)


def test_class_too_small_to_split(tmp_path):
    make(tmp_path / "a")
    make(tmp_path / "b", 1)
    with pytest.raises(ValueError, match="class 'b' holds one image"):
        find_images(tmp_path)


@pytest.mark.parametrize("names", [("Train", "Val"), ("training", "validation"), ("val", "test")])
def test_split_names_are_no_classes(tmp_path, names):
    for name in names:
        make(tmp_path / name / "a")
    with pytest.raises(ValueError, match="look like splits"):
        find_images(tmp_path)


def test_other_files_are_listed(split_root):
    (split_root / "train" / "a" / "notes.txt").write_text("x")
    make(split_root / "test" / "a", 1)
    assert {path.name for path in find_images(split_root).unused} == {"notes.txt", "0.jpg"}


def test_check_names_the_first_broken_file(split_root):
    found = find_images(split_root)
    found.check()
    (split_root / "train" / "a" / "1.jpg").write_bytes(b"")
    (split_root / "val" / "b" / "0.jpg").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"a.1\.jpg: cannot be read as an image \(it is empty\); 1 more"):
        found.check()


def test_summary_counts_what_is_not_used(split_root):
    (split_root / "train" / "a" / "notes.txt").write_text("x")
    summary = find_images(split_root).summary
    assert summary.startswith("8 training and 4 validation images of 2 classes; 1 other files are not used (1 .txt)")
