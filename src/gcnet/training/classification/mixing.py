"""Batches whose images, and labels, are mixtures of two."""

from __future__ import annotations

from torch import Tensor
from torchvision.transforms import v2


def mix_batch(
    images: Tensor, labels: Tensor, classes: int, *, mixup: float = 0.0, cutmix: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Mixup or CutMix of a batch with itself, by draws of torch's global generator.

    Args:
        images: [N, 3, H, W].
        labels: [N] int64.
        classes: how many there are.
        mixup: of the Beta distribution (https://arxiv.org/abs/1710.09412); 0 for none.
        cutmix: likewise (https://arxiv.org/abs/1905.04899). With both, one of the two is drawn per batch.

    Returns:
        Images [N, 3, H, W] and the share of every class [N, classes]; both as they were where neither is asked for.

    Example:
        >>> import torch
        >>> images, targets = mix_batch(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]), 3, mixup=0.2)
        >>> images.shape, targets.sum(1).allclose(torch.ones(4))
        (torch.Size([4, 3, 8, 8]), True)
    """
    choices = [v2.MixUp(alpha=mixup, num_classes=classes)] if mixup else []
    choices += [v2.CutMix(alpha=cutmix, num_classes=classes)] if cutmix else []
    if not choices:
        return images, labels
    return v2.RandomChoice(choices)(images, labels)
