"""Image classification as a Lightning task: top-1, top-5 and accuracy per class after every epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

from gcnet.insertion import param_groups


class ClassificationTask(LightningModule):
    """Cross-entropy with label smoothing; AdamW under a linear warm-up and a cosine, stepped per batch.

    Norms and biases get no weight decay; inserted blocks may have a learning rate of their own.

    Args:
        net: [N, 3, H, W] to logits [N, classes].
        class_names: names of the classes, in the order of the logits; part of the checkpoint.
        lr: peak learning rate of the host.
        added_lr: of the inserted blocks; as ``lr`` by default.
        weight_decay: of AdamW.
        warmup: share of all steps.
        label_smoothing: share of the target spread over all classes.

    Attributes:
        history: one dict of scores per finished epoch; part of the checkpoint.
        per_class: accuracy per class after the last epoch.
    """

    def __init__(
        self,
        net: nn.Module,
        class_names: Sequence[str],
        *,
        lr: float = 1e-3,
        added_lr: float | None = None,
        weight_decay: float = 0.05,
        warmup: float = 0.1,
        label_smoothing: float = 0.1,
    ) -> None:
        super().__init__()
        self.net = net
        self.class_names = tuple(class_names)
        classes = len(self.class_names)
        self.lr = lr
        self.added_lr = added_lr
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.label_smoothing = label_smoothing
        self.top1 = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.top5 = MulticlassAccuracy(classes, average="micro", top_k=5, validate_args=False) if classes > 5 else None
        self.by_class = MulticlassAccuracy(classes, average="none", validate_args=False)
        self.history: list[dict[str, float]] = []
        self.per_class: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits; auxiliary outputs some torchvision networks give while training are left out."""
        output = self.net(images)
        return output if isinstance(output, Tensor) else output.logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Mean cross-entropy."""
        images, labels = batch
        loss = functional.cross_entropy(self(images), labels, label_smoothing=self.label_smoothing)
        if not torch.isfinite(loss):
            raise ValueError(f"lr={self.lr}: the loss is {loss.item()} at step {self.global_step}; lower it")
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count the batch."""
        images, labels = batch
        logits = self(images).float()
        self.log("val_loss", functional.cross_entropy(logits, labels))
        for metric in self._metrics().values():
            metric.update(logits, labels)

    def on_validation_epoch_end(self) -> None:
        """Turn the counts into scores."""
        scores = {name: metric.compute() for name, metric in self._metrics().items()}
        for metric in self._metrics().values():
            metric.reset()
        self.per_class = scores.pop("by_class").tolist()
        self.log_dict({f"val_{name}": value for name, value in scores.items()})

    def on_train_epoch_end(self) -> None:
        """Add the epoch, which ends after its validation, to the history."""
        names = ("train_loss", "val_loss", "val_top1", "val_top5")
        logged = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key in names}
        self.history.append({"epoch": self.current_epoch + 1, **logged})

    def _metrics(self) -> dict[str, MulticlassAccuracy]:
        metrics = {"top1": self.top1, "top5": self.top5, "by_class": self.by_class}
        return {name: metric for name, metric in metrics.items() if metric is not None}

    def configure_optimizers(self) -> Any:
        """AdamW and its schedule."""
        groups = param_groups(self.net, self.lr, self.added_lr, self.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_cosine(step, steps, self.warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history, so that a resumed run draws its whole curve."""
        checkpoint["history"] = self.history
        checkpoint["classes"] = list(self.class_names)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history back."""
        self.history = list(checkpoint["history"])


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: a line from near 0 to 1 over the first ``warmup`` share, then a cosine to 0.

    Example:
        >>> [round(warmup_cosine(step, 10, 0.2), 2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising)))) / 2
