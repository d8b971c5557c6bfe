"""Semantic segmentation as a Lightning task: a label per pixel, judged by mean intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from gcnet.training.segmentation.config import SegmentationConfig
from gcnet.training.segmentation.network import at_size, logits_of, predict_logits
from gcnet.training.segmentation.transforms import Sample, normalise
from gcnet.training.task import Task


@dataclass(frozen=True)
class Example:
    """A validation image [3, H, W], its mask [h, w] and what was predicted [h, w]."""

    image: Tensor
    truth: Tensor
    predicted: Tensor


class SegmentationTask(Task):
    """Cross-entropy per pixel; mean IoU over all pixels of the validation images.

    Training batches are images [N, 3, H, W] uint8 and masks [N, H, W]; validation batches are lists of them, see
    :func:`gcnet.training.segmentation.transforms.by_size`.

    Attributes:
        confusion: pixels [classes, classes] of the last validation, true class in rows and predicted class in columns.
        examples: images of the last validation to draw.
    """

    config: SegmentationConfig

    def __init__(self, net: nn.Module, config: SegmentationConfig, classes: Sequence[str]) -> None:
        super().__init__(net, config, classes)
        count = len(self.classes)
        self.counts = MulticlassConfusionMatrix(count, ignore_index=config.ignore_index, validate_args=False)
        self.val_loss = SumMetric(nan_strategy="disable")
        self.confusion = torch.zeros(count, count, dtype=torch.long)
        self.examples: list[Example] = []

    def losses(self, batch: Sample) -> dict[str, Tensor]:
        """Cross-entropy of the head, and of the auxiliary head times its weight.

        Means over all pixels of the batch; ignored ones add nothing. So every labelled pixel weighs the same in every
        batch and every process, and a batch without any gives 0.
        """
        images, masks = batch
        logits = logits_of(self.net, self.prepare(images))
        losses = {"head_loss": self.cross_entropy(logits["out"], masks).mean()}
        if "aux" in logits:
            losses["auxiliary_loss"] = self.config.auxiliary * self.cross_entropy(logits["aux"], masks).mean()
        return losses

    def batch_length(self, batch: Sample) -> int:
        """Images in a batch."""
        return len(batch[0])

    def prepare(self, images: Tensor) -> Tensor:
        """What the network takes, of images [N, 3, H, W] uint8."""
        kind = next(self.net.parameters()).dtype
        return normalise(images, self.config.mean, self.config.std).to(kind)

    def cross_entropy(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Loss of every pixel [N, H, W], 0 where it is ignored."""
        return functional.cross_entropy(
            logits.float(), masks.long(), ignore_index=self.config.ignore_index, reduction="none"
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the examples of the last epoch."""
        self.examples = []

    def validation_step(self, batch: list[Sample], batch_idx: int) -> None:
        """Count the pixels, at the size of the masks."""
        for images, masks in batch:
            logits = at_size(predict_logits(self.net, self.prepare(images), self.config), tuple(masks.shape[1:]))
            labels = logits.argmax(1)
            self.val_loss.update(self.cross_entropy(logits, masks).sum())
            self.counts.update(labels, masks.long())
        if batch_idx in self._drawn() and self.trainer.is_global_zero:
            self.examples.append(Example(images[-1].cpu(), masks[-1].cpu(), labels[-1].cpu()))

    def _drawn(self) -> set[int]:
        """Batches, at even distances, of which one image is drawn."""
        batches = int(self.trainer.num_val_batches[0])
        number = min(self.config.examples, batches)
        return {round((step + 0.5) * batches / number - 0.5) for step in range(number)}

    def on_validation_epoch_end(self) -> None:
        """Turn the counts of all processes into scores.

        Raises:
            ValueError: no pixel of the validation images has a label that is scored.
        """
        self.confusion = self.counts.compute().long().cpu()
        self.counts.reset()
        if not self.confusion.any():
            raise ValueError(f"no pixel of the validation masks has a label other than {self.config.ignore_index}")
        self.log("val_loss", self.val_loss.compute() / self.confusion.sum())
        self.val_loss.reset()
        self.log("val_miou", torch.tensor(mean_iou(self.confusion)))
        self.log("val_pixel_accuracy", self.confusion.trace() / self.confusion.sum())


def class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union of every class [classes], NaN for one that is neither there nor predicted anywhere.

    Args:
        confusion: pixels [classes, classes], true class in rows and predicted class in columns.

    Example:
        >>> class_iou(torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]]))
        tensor([0.7500, 0.6667,    nan], dtype=torch.float64)
    """
    both = confusion.diagonal().double()
    return both / (confusion.sum(0) + confusion.sum(1) - both)


def mean_iou(confusion: Tensor) -> float:
    """Mean of :func:`class_iou` over the classes that are there or predicted somewhere.

    A class without a true pixel therefore counts 0 once a pixel is mistaken for it, and does not count otherwise, as in
    the evaluation of Cityscapes.

    Example:
        >>> round(mean_iou(torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])), 4)
        0.7083
    """
    return class_iou(confusion).nanmean().item()
