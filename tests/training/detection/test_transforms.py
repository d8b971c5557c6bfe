"""Mirrored boxes and masks stay on their objects."""

import pytest
import torch

pytest.importorskip("torchvision")

from gcnet.training.detection.coco import CocoImage
from gcnet.training.detection.transforms import TrainTransform, collate, shape_groups


def sample():
    image = torch.zeros(3, 10, 16, dtype=torch.uint8)
    image[:, 2:5, 1:7] = 9
    mask = (image[:1] == 9).to(torch.uint8)
    return image, {"boxes": torch.tensor([[1.0, 2, 7, 5]]), "labels": torch.tensor([1]), "masks": mask}


def test_a_mirror_image_takes_boxes_and_masks_along():
    image, target = TrainTransform(mirror=1)(*sample())
    assert target["boxes"].tolist() == [[9, 2, 15, 5]]
    assert torch.equal(target["masks"][0] == 1, image[0] == 9)
    assert torch.equal(image, sample()[0].flip(-1))


def test_half_of_the_images_are_mirrored():
    transform = TrainTransform(mirror=0.5)
    mirrored = sum(transform(*sample())[1]["boxes"][0, 0] == 9 for _ in range(200))
    assert 70 < mirrored < 130


def test_no_object_and_no_masks():
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    assert TrainTransform(mirror=1)(sample()[0], target)[1]["boxes"].shape == (0, 4)


def test_batches_are_lists():
    assert collate([(1, "a"), (2, "b")]) == ([1, 2], ["a", "b"])


def test_shapes_do_not_mix_where_both_fill_batches():
    upright, wide = CocoImage(1, "a", 30, 40), CocoImage(2, "b", 40, 30)
    assert shape_groups([upright, wide, upright, wide], 2) == [0, 1, 0, 1]
    assert shape_groups([upright, wide, wide, wide], 2) is None
    assert shape_groups([wide] * 4, 2) is None
