"""Folders of images as a source of data."""

import pytest
from torchvision.transforms.v2.functional import pil_to_tensor

from gcnet.training.classification.image_folder import find_images
from tests.training.classification.photos import picture, write_folder


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path / "train", count=4)
    write_folder(tmp_path / "val", count=2)
    return tmp_path


def test_pictures_have_the_labels_of_their_folders(root):
    found = find_images(root)
    assert found.classes == ("blue", "red")
    for split, count in (("train", 4), ("val", 2)):
        samples = found.dataset(split, pil_to_tensor)
        assert len(samples) == 2 * count
        for index in range(2 * count):
            image, label = samples[index]
            assert label == index // count
            assert (image == pil_to_tensor(picture(found.classes[label], index % count))).all()


def test_all_kinds_of_files_are_found(root):
    for kind in ("jpg", "JPEG", "webp", "bmp", "tif", "gif"):
        picture("red", 0).save(root / "train" / "red" / f"more.{kind}")
    assert len(find_images(root).files.train) == 14


def test_check_names_the_first_broken_file(root):
    found = find_images(root)
    found.check()
    (root / "train" / "blue" / "1.png").write_bytes(b"")
    (root / "val" / "red" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"blue.1\.png: cannot be read as an image \(it is empty\); 1 more"):
        found.check()


def test_summary_counts_what_is_not_used(root):
    (root / "train" / "red" / "notes.txt").write_text("x")
    summary = find_images(root).summary
    assert summary.startswith("8 training and 4 validation images of 2 classes; 1 other files are not used (1 .txt)")


def test_test_folders_hidden_folders_and_missing_folders(root):
    (root / "val").rename(root / "test")
    (root / "train" / ".thumbnails").mkdir()
    assert len(find_images(root).files.val) == 4
    write_folder(root / "test", classes=("green",), count=1)
    with pytest.raises(ValueError, match=r"train: class folder 'green' is missing"):
        find_images(root)
    with pytest.raises(FileNotFoundError, match=r"data=.*nowhere: no such folder"):
        find_images(root / "nowhere")
