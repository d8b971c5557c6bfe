"""What the network sees of a picture."""

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

from gcnet.recipes.classification import classification
from gcnet.training.classification.transforms import PixelJitter, train_transform, val_transform
from gcnet.training.images import MEAN, STD
from tests.training.classification.photos import picture

PLAIN = {"crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "mirror": 0.0, "image_size": 24}
SENET = {"crop_scale": (0.08, 1.0), "rotation": 10.0, "pixel_jitter": 20.0}


def config(**options):
    return dataclasses.replace(classification(Path("photos")), **options)


def values(image):
    """0 to 255, as before the normalisation."""
    return (image * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)) * 255


def pixels(image):
    from torchvision.transforms.v2.functional import pil_to_tensor

    return pil_to_tensor(image).float()


def test_nothing_random_leaves_the_picture():
    red = picture("red", 0)
    torch.testing.assert_close(values(train_transform(config(**PLAIN))(red)), pixels(red), atol=1e-3, rtol=0)


def test_mirror():
    red = picture("red", 0)
    seen = values(train_transform(config(**{**PLAIN, "mirror": 1.0}))(red))
    torch.testing.assert_close(seen, pixels(red).flip(-1), atol=1e-3, rtol=0)


def test_rotation_leaves_corners_empty():
    torch.manual_seed(0)
    augment = train_transform(config(**{**PLAIN, "rotation": 45.0}))
    seen = [augment(Image.new("RGB", (24, 24), (255, 0, 0))) for _ in range(8)]
    assert sum(bool(image[:, 0, 0].abs().max() < 0.02) for image in seen) >= 4, "the mean colour becomes zero"
    assert all(values(image)[0, 12, 12] == pytest.approx(255, abs=0.01) for image in seen)


def test_pixel_jitter_is_uniform_and_of_every_value():
    torch.manual_seed(0)
    grey = torch.full((3, 100, 100), 0.5)
    changed = PixelJitter(0.1)(grey) - grey
    assert changed.abs().max() <= 0.1 + 1e-6
    assert changed.std() == pytest.approx(0.2 / 12**0.5, rel=0.02)
    assert torch.corrcoef(changed.flatten(1))[0, 1].abs() < 0.05
    assert PixelJitter(0.5)(torch.ones(3, 8, 8)).max() == 1


def test_erasing_blanks_a_rectangle():
    torch.manual_seed(0)
    seen = train_transform(config(**PLAIN, erasing=1.0))(Image.new("RGB", (24, 24), (255, 255, 255)))
    blank = (seen == 0).all(0)
    rows, columns = blank.any(1), blank.any(0)
    assert 0 < blank.sum() == rows.sum() * columns.sum() < 24 * 24


def test_colour_jitter_keeps_shapes_apart_from_colours():
    torch.manual_seed(0)
    seen = values(train_transform(config(**PLAIN, colour_jitter=0.4))(Image.new("RGB", (24, 24), (100, 100, 100))))
    assert seen.std() < 0.01
    assert abs(seen.mean() - 100) > 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_validation_cuts_the_centre_of_the_scaled_picture(interpolation):
    wide = picture("blue", 1, size=(60, 40))
    settings = config(image_size=16, test_resize=20, interpolation=interpolation)
    scaled = pixels(wide.resize((30, 20), getattr(Image.Resampling, interpolation.upper())))
    torch.testing.assert_close(values(val_transform(settings)(wide)), scaled[:, 2:18, 7:23], atol=1e-3, rtol=0)


def test_augmentation_of_senet_follows_the_generators():
    augment = train_transform(config(**SENET, image_size=24))
    torch.manual_seed(3)
    first = augment(picture("red", 0))
    second = augment(picture("red", 0))
    torch.manual_seed(3)
    assert torch.equal(augment(picture("red", 0)), first)
    assert not torch.equal(first, second)
