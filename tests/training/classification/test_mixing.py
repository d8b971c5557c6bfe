"""Mixtures of two images carry the same mixture of labels."""

import pytest
import torch

pytest.importorskip("torchvision")

from gcnet.training.classification.mixing import mix_batch

IMAGES = torch.eye(4).view(4, 4, 1, 1).expand(4, 4, 8, 8)[:, :3] + 1  # told apart by any pixel
LABELS = torch.tensor([0, 1, 2, 3])


def test_off_leaves_everything():
    images, labels = mix_batch(IMAGES, LABELS, 4)
    assert images is IMAGES
    assert labels is LABELS


def test_mixup_is_the_same_for_images_and_labels():
    torch.manual_seed(0)
    images, targets = mix_batch(IMAGES, LABELS, 4, mixup=1.0)
    share = float(targets[0, 0])
    assert 0 < share < 1
    torch.testing.assert_close(images, share * IMAGES + (1 - share) * IMAGES.roll(1, 0))
    torch.testing.assert_close(targets, share * torch.eye(4) + (1 - share) * torch.eye(4).roll(1, 0))


def test_cutmix_shares_are_areas():
    torch.manual_seed(1)
    images, targets = mix_batch(IMAGES, LABELS, 4, cutmix=1.0)
    own = (images[1] == IMAGES[1]).all(0).float().mean()
    assert 0 < own < 1
    assert targets[1, 1] == pytest.approx(float(own))
    assert targets[1, 0] == pytest.approx(1 - float(own))


def test_both_take_turns_and_follow_the_seed():
    def kinds():
        for _ in range(20):
            images, _ = mix_batch(IMAGES, LABELS, 4, mixup=1.0, cutmix=1.0)
            yield bool(((images == 1) | (images == 2)).all())

    torch.manual_seed(0)
    first = list(kinds())
    torch.manual_seed(0)
    assert first == list(kinds())
    assert 3 < sum(first) < 17
