"""Video classification as a Lightning task: clips in training, averaged views in testing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from gcnet.training.classification.task import ClassificationTask
from gcnet.training.images import MEAN, STD
from gcnet.training.video.config import VideoConfig


class VideoTask(ClassificationTask):
    """Classification of clips; a video is judged by the mean probabilities of its views.

    Training batches are clips uint8 [N, 3, T, H, W] and labels [N], validation batches views uint8
    [N, views, 3, T, H, W] and labels [N]. Besides the scores of :class:`ClassificationTask`, all of whole videos, it
    logs ``val_clip_top1``, the accuracy of single views, where there are several.

    Args:
        net: normalised clips [N, 3, T, H, W] to logits [N, classes].
        config: of the training; as many views as a training batch has clips go through the network at once.
        classes: their names.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, config: VideoConfig, classes: Sequence[str]) -> None:
        super().__init__(net, config, classes, label_smoothing=config.label_smoothing)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1, 1), persistent=False)
        self.clip_top1 = MulticlassAccuracy(len(self.classes), average="micro", validate_args=False)
        self._views = 1

    def normalised(self, clips: Tensor) -> Tensor:
        """uint8 clips [..., 3, T, H, W] as the network takes them."""
        return (clips.float() / 255 - self.mean) / self.std

    def forward(self, clips: Tensor) -> Tensor:
        """Logits [N, classes] of uint8 clips [N, 3, T, H, W]."""
        return super().forward(self.normalised(clips))

    def view_probabilities(self, views: Tensor) -> Tensor:
        """Probabilities [N, views, classes] of uint8 views [N, views, 3, T, H, W]."""
        parts = views.flatten(0, 1).split(self.config.batch_size)
        return torch.cat([self(part).float().softmax(1) for part in parts]).unflatten(0, views.shape[:2])

    def logits_and_labels(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Logarithms of the mean probabilities [N, classes], and labels [N]."""
        views, labels = batch
        probabilities = self.view_probabilities(views)
        self._views = views.shape[1]
        self.clip_top1.update(probabilities.flatten(0, 1), labels.repeat_interleave(self._views))
        return probabilities.mean(1).log(), labels

    def on_validation_epoch_end(self) -> None:
        """Turn the counts of all processes into scores."""
        super().on_validation_epoch_end()
        clip_top1 = self.clip_top1.compute()
        self.clip_top1.reset()
        if self._views > 1:
            self.log("val_clip_top1", clip_top1)
