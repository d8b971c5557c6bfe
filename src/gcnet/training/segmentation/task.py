"""Semantic segmentation as a Lightning task: a label per pixel, judged by mean intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.classification import MulticlassJaccardIndex


class SegmentationTask(LightningModule):
    """Cross-entropy, AdamW with one cycle of the learning rate, IoU per class after every epoch.

    Args:
        net: [N, 3, H, W] to logits [N, classes, H, W].
        class_names: one name per label.
        lr: peak learning rate.
        weight_decay: of AdamW.

    Attributes:
        history: mIoU after each epoch.
        iou: IoU per class after the last epoch.

    Batches are images [N, 3, H, W] uint8 and masks [N, H, W] uint8.
    """

    def __init__(self, net: nn.Module, class_names: Sequence[str], *, lr: float, weight_decay: float) -> None:
        super().__init__()
        self.net = net
        self.class_names = tuple(class_names)
        self.lr = lr
        self.weight_decay = weight_decay
        self.iou_metric = MulticlassJaccardIndex(len(class_names), average="none", validate_args=False)
        self.iou: tuple[float, ...] = ()
        self.history: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits of uint8 images."""
        return self.net(normalise(images))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Mean cross-entropy over all pixels."""
        images, masks = batch
        loss = functional.cross_entropy(self(images), masks.long())
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Count the batch."""
        images, masks = batch
        logits = self(images)
        self.log("val_loss", functional.cross_entropy(logits, masks.long()))
        self.iou_metric.update(logits.argmax(1), masks)

    def on_validation_epoch_end(self) -> None:
        """Turn the counts into scores."""
        iou = self.iou_metric.compute()
        self.iou_metric.reset()
        self.iou = tuple(iou.tolist())
        self.history.append(iou.mean().item())
        self.log("val_miou", iou.mean())
        for name, value in zip(self.class_names, iou, strict=True):
            self.log(f"val_iou_{name.replace(' ', '_')}", value)

    def configure_optimizers(self) -> Any:
        """AdamW under a one-cycle schedule per step."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def normalise(images: Tensor) -> Tensor:
    """uint8 pictures to floats of about zero mean and unit spread.

    Example:
        >>> normalise(torch.zeros(1, 3, 4, 4, dtype=torch.uint8)).unique()
        tensor([-1.2000])
    """
    return (images.float() / 255 - 0.3) / 0.25
