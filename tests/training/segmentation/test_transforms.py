"""Images and masks are changed together; what is added is ignored."""

import dataclasses
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.recipes.scenes_segmentation import scenes_segmentation
from gcnet.training.randomness import seeded
from gcnet.training.segmentation.transforms import TrainTransform, ValTransform

CONFIG = scenes_segmentation(Path("scenes"))


def encoded(height, width):
    """A mask of distinct regions, and an image whose first channel is the mask."""
    mask = (torch.arange(height)[:, None] // 4 * 20 + torch.arange(width) // 4).to(torch.uint8)
    return mask.expand(3, height, width).clone(), mask


@pytest.mark.parametrize(
    "fields",
    [
        {"crop_size": (8, 12), "mirror": 1.0},
        {"crop_size": (40, 50), "mirror": 0.5},
        {"crop_size": (30, 10), "mirror": 0.0},
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_pixels_and_labels_stay_together(fields, seed):
    image, mask = encoded(24, 36)
    with seeded(seed):
        image, mask = TrainTransform(dataclasses.replace(CONFIG, **fields))(image, mask)
    assert image.shape[1:] == mask.shape == fields["crop_size"]
    inside = mask != 255
    assert torch.equal(image[0][inside], mask[inside])
    assert len(image[:, ~inside].unique()) <= 1
    assert type(image) is type(mask) is torch.Tensor


def test_scaling_changes_both_alike():
    image, mask = encoded(24, 36)
    config = dataclasses.replace(CONFIG, crop_size=(96, 144), scale=(2.0, 2.0), mirror=0.0)
    image, mask = TrainTransform(config)(image, mask)
    assert (mask != 255).sum() == 48 * 72
    assert set(mask.unique().tolist()) - {255} == set(encoded(24, 36)[1].unique().tolist())
    inside = mask != 255
    assert (image[0][inside].float() - mask[inside].float()).abs().median() == 0


def test_padding_is_the_mean_colour():
    config = dataclasses.replace(CONFIG, crop_size=(10, 10), mean=(0.1, 0.5, 0.9))
    image, mask = TrainTransform(config)(*encoded(4, 4))
    assert (mask == 255).sum() == 84
    assert image[:, mask == 255].unique(dim=1).flatten().tolist() == [26, 128, 230]


def test_the_draws_follow_from_the_generator():
    transform = TrainTransform(dataclasses.replace(CONFIG, crop_size=(8, 8), scale=(0.5, 2.0), colour_jitter=True))
    results = []
    for seed in (0, 0, 1):
        with seeded(seed):
            results.append(transform(*encoded(24, 36))[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_validation_resizes_the_image_alone():
    image, mask = ValTransform(dataclasses.replace(CONFIG, resize=12))(*encoded(24, 36))
    assert image.shape == (3, 12, 18)
    assert mask.shape == (24, 36)


def test_a_crop_with_too_much_of_one_class_is_drawn_again():
    mask = torch.zeros(20, 200, dtype=torch.uint8)
    mask[:, 90:110] = torch.tensor([1, 2, 255]).repeat(7)[:20]
    image = torch.zeros(3, 20, 200, dtype=torch.uint8)
    largest = {}
    for share in (1.0, 0.75):
        transform = TrainTransform(dataclasses.replace(CONFIG, crop_size=(20, 20), max_class_share=share))
        with seeded(0):
            crops = [transform(image, mask)[1] for _ in range(40)]
        counts = [crop[crop != 255].long().bincount() for crop in crops]
        largest[share] = [float(count.max() / count.sum()) for count in counts]
    assert sum(share <= 0.75 for share in largest[0.75]) > 2 * sum(share <= 0.75 for share in largest[1.0])
    nothing = torch.full((20, 30), 255, dtype=torch.uint8)
    assert transform(image[..., :30], nothing)[1].unique().tolist() == [255]
