"""Images and their objects as samples."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

from gcnet.training.detection.coco import CocoImage, read_coco
from gcnet.training.detection.images import ScoredImages, TrainingImages, read_image, size_problem
from gcnet.training.detection.transforms import TrainTransform
from gcnet.training.loading import BrokenSample
from tests.training.detection.shapes import make_coco


@pytest.fixture
def root(tmp_path):
    return make_coco(tmp_path)


def training(root, **options):
    coco = read_coco(root / "annotations/instances_train.json", root / "train", **options)
    return TrainingImages(coco, range(len(coco.images)), TrainTransform(mirror=0))


def test_a_sample_is_an_image_with_its_objects(root):
    image, target = training(root)[0]
    assert (image.shape, image.dtype) == ((3, 48, 64), torch.uint8)
    assert target["labels"].tolist() == [1, 2]
    assert {name: (value.shape, value.dtype) for name, value in target.items()} == {
        "boxes": ((2, 4), torch.float32),
        "labels": ((2,), torch.int64),
        "masks": ((2, 48, 64), torch.uint8),
    }
    assert type(image) is type(target["boxes"]) is type(target["masks"]) is torch.Tensor
    for box, mask, colour in zip(target["boxes"], target["masks"], ([230, 60, 60], [60, 230, 60]), strict=True):
        rows, columns = torch.where(mask == 1)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (image[:, mask == 1] == torch.tensor(colour)[:, None]).all()


def test_an_image_without_objects(root):
    target = training(root)[3][1]
    assert {name: tuple(value.shape) for name, value in target.items()} == {
        "boxes": (0, 4),
        "labels": (0,),
        "masks": (0, 48, 64),
    }


def test_boxes_alone(root):
    assert training(root, masks=False)[0][1].keys() == {"boxes", "labels"}


def test_images_to_score_know_their_number(root):
    coco = read_coco(root / "annotations/instances_val.json", root / "val")
    assert [ScoredImages(coco)[index][1] for index in range(2)] == [0, 1]


def test_a_broken_file_is_named(root):
    (root / "train/1.png").write_bytes(b"no picture")
    with pytest.raises(BrokenSample, match=r"1\.png: cannot be decoded"):
        training(root)[0]
    assert "cannot be read as an image" in size_problem(root / "train/1.png", CocoImage(1, "1.png", 64, 48))


def test_another_size_than_annotated(root):
    Image.new("RGB", (32, 32)).save(root / "train/1.png")
    with pytest.raises(BrokenSample, match=r"1\.png: is 32 pixels wide and 32 high .* for 64 and 48"):
        training(root)[0]


def test_a_photo_taken_upright_counts_as_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :, 0] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    expected = CocoImage(1, "a.png", 20, 30)
    assert size_problem(tmp_path / "a.png", expected) is None
    image = read_image(tmp_path / "a.png", expected)
    assert image.shape == (3, 30, 20)
    assert (image[0, :, 10:] == 200).all()


def test_a_damaged_mask_is_named(root):
    dataset = training(root)
    coco = dataset.coco
    damaged = TrainingImages(
        type(coco)(**{**vars(coco), "masks": (b"0" * 50, *coco.masks[1:])}), [0], TrainTransform(mirror=0)
    )
    with pytest.raises(BrokenSample, match=r"instances_train\.json: a mask of 1\.png cannot be decoded"):
        damaged[0]
