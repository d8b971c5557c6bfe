"""What the four tasks have in common as Lightning modules: losses, the optimizer, randomness, the history of scores."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from gcnet.training.config import TrainingConfig
from gcnet.training.optimisation import optimizer_and_schedule
from gcnet.training.randomness import mix


class Task(LightningModule):
    """A network, its losses and its scores.

    A subclass gives :meth:`losses` and the usual hooks of validation, which log ``val_<score>``; one of them is
    ``config.score``, the larger the better.

    Args:
        net: the network with its blocks.
        config: of the training.
        classes: their names, in the order of the outputs; part of the checkpoint.

    Attributes:
        history: one dict of scores per finished epoch; part of the checkpoint.
    """

    def __init__(self, net: nn.Module, config: TrainingConfig, classes: Sequence[str]) -> None:
        super().__init__()
        self.net = net
        self.config = config
        self.classes = tuple(classes)
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}
        self._samples = 0

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Losses of a training batch by name, means over its samples; their sum is minimised."""

    @abstractmethod
    def batch_length(self, batch: Any) -> int:
        """Samples in a batch."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Sum of the losses.

        Raises:
            FloatingPointError: a loss that is not finite.
        """
        losses = self.losses(batch)
        stacked = torch.stack(list(losses.values()))
        total = stacked.sum()
        value, *parts = torch.cat((total.view(1), stacked)).tolist()  # waits for the device once
        by_name = dict(zip(losses, parts, strict=True))
        if not math.isfinite(value):
            listed = ", ".join(f"{name} {part:g}" for name, part in by_name.items())
            raise FloatingPointError(f"the loss is not finite at step {self.global_step} ({listed})")
        count = self.batch_length(batch)
        self._samples += count
        for name, part in {"loss": value, **(by_name if len(losses) > 1 else {})}.items():
            self._sums[name] = self._sums.get(name, 0.0) + part * count
            self.log(f"train_{name}_step", part, batch_size=count)
        return total

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """What the network and the losses draw follows from the seed, the batch and the process."""
        torch.manual_seed(mix(self.config.seed, 2, self.current_epoch, batch_idx, self.global_rank))

    def on_train_epoch_end(self) -> None:
        """Add the epoch, which ends after its validation, to the history."""
        totals = torch.tensor([*self._sums.values(), self._samples], dtype=torch.float64)
        if self.trainer.world_size > 1:
            totals = self.trainer.strategy.reduce(totals.to(self.device), reduce_op="sum").cpu()
        means = {f"train_{name}": float(value / totals[-1]) for name, value in zip(self._sums, totals, strict=False)}
        for name, value in means.items():
            self.log(name, value, rank_zero_only=True)
        scores = {key: float(value) for key, value in self.trainer.callback_metrics.items() if key.startswith("val_")}
        self.history.append({"epoch": self.current_epoch + 1, **means, **scores})
        self._sums, self._samples = {}, 0

    def configure_optimizers(self) -> Any:
        """The optimizer and its schedule per step, as the configuration says."""
        steps = int(self.trainer.estimated_stepping_batches)
        return optimizer_and_schedule(self.net, self.config, steps=steps, world=self.trainer.world_size)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history and the sums of the present epoch."""
        checkpoint["history"] = self.history
        checkpoint["classes"] = list(self.classes)
        checkpoint["sums"] = (self._sums, self._samples)
        checkpoint["world"] = self.trainer.world_size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them back."""
        self.history = list(checkpoint["history"])
        self._sums, self._samples = checkpoint["sums"]
