"""Classification as a Lightning task: top-1, top-5, and counts of what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from gcnet.training.classification.mixing import mix_batch
from gcnet.training.config import TrainingConfig
from gcnet.training.task import Task

LISTED = 5  # classes in a prediction


class ClassificationTask(Task):
    """Cross-entropy with smoothed or mixed labels; validation counts every sample once, over all processes.

    Batches are samples [N, ...] and labels [N]. It logs ``val_loss``, ``val_top1`` and, above five classes,
    ``val_top5``.

    Args:
        net: samples to logits [N, classes].
        config: of the training.
        classes: their names.
        label_smoothing: share of the target spread over all classes.
        mixup: see :func:`~gcnet.training.classification.mixing.mix_batch`.
        cutmix: likewise.

    Attributes:
        confusion: counts [classes, classes] of the last validation, true classes by predicted ones; None before.
    """

    def __init__(
        self,
        net: nn.Module,
        config: TrainingConfig,
        classes: Sequence[str],
        *,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
    ) -> None:
        super().__init__(net, config, classes)
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.cutmix = cutmix
        count = len(self.classes)
        self.counts = MulticlassConfusionMatrix(count, validate_args=False)
        self.top5 = MulticlassAccuracy(count, average="micro", top_k=5, validate_args=False) if count > 5 else None
        self.mean_loss = MeanMetric()
        self.confusion: Tensor | None = None

    def forward(self, samples: Tensor) -> Tensor:
        """Logits; auxiliary outputs some torchvision networks give while training are left out."""
        output = self.net(samples)
        return output if isinstance(output, Tensor) else output.logits

    def losses(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Mean cross-entropy."""
        samples, targets = mix_batch(*batch, len(self.classes), mixup=self.mixup, cutmix=self.cutmix)
        loss = functional.cross_entropy(self(samples).float(), targets, label_smoothing=self.label_smoothing)
        return {"cross_entropy": loss}

    def batch_length(self, batch: tuple[Tensor, Tensor]) -> int:
        """Samples in a batch."""
        return len(batch[1])

    def logits_and_labels(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Logits [N, classes] and labels [N] of a validation batch; a task that sees several views merges them here."""
        samples, labels = batch
        return self(samples).float(), labels

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count the batch."""
        logits, labels = self.logits_and_labels(batch)
        self.mean_loss.update(functional.cross_entropy(logits, labels), len(labels))
        self.counts.update(logits, labels)
        if self.top5 is not None:
            self.top5.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Turn the counts of all processes into scores."""
        confusion = self.counts.compute()
        self.confusion = confusion.cpu()
        scores = {"loss": self.mean_loss.compute(), "top1": confusion.trace() / confusion.sum()}
        if self.top5 is not None:
            scores["top5"] = self.top5.compute()
        for metric in (self.counts, self.mean_loss, self.top5):
            if metric is not None:
                metric.reset()
        self.log_dict({f"val_{name}": value for name, value in scores.items()}, sync_dist=True)


def likeliest(probabilities: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The five likeliest classes of one sample, the likeliest first.

    Args:
        probabilities: [classes].
        classes: their names.

    Example:
        >>> import torch
        >>> likeliest(torch.tensor([0.25, 0.75]), ("cat", "dog"))
        [{'class': 'dog', 'probability': 0.75}, {'class': 'cat', 'probability': 0.25}]
    """
    values, indices = probabilities.topk(min(LISTED, len(classes)))
    pairs = zip(values.tolist(), indices.tolist(), strict=True)
    return [{"class": classes[index], "probability": value} for value, index in pairs]
