"""The smallest experiment that has everything a resumed run must get right.

Random augmentation in the data, batch norm and dropout in the network, an inserted block with its own learning rate.
``python -m tests.training.toy DIR [field=value ...]`` trains it in a folder, to be killed, or started by torchrun.
"""

import ast
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy

import gcnet
from gcnet.training import run as training_run
from gcnet.training.config import TrainingConfig
from gcnet.training.experiment import Experiment
from gcnet.training.loading import BrokenSample, train_loader, val_loader
from gcnet.training.task import Task


@dataclass(frozen=True, kw_only=True)
class ToyConfig(TrainingConfig):
    task: ClassVar[str] = "toy"
    score: ClassVar[str] = "val_top1"

    samples: int = 24
    augment: bool = True
    dropout: float = 0.2
    broken: tuple[int, ...] = ()
    nan_at: int = -1


def toy_config(folder: Path, **fields) -> ToyConfig:
    values = {
        "data": folder,
        "backbone": "toy",
        "block": "gc",
        "ratio": 1 / 2,
        "match": ("2",),
        "epochs": 3,
        "batch_size": 4,
        "lr": 0.01,
        "added_lr": 0.02,
        "weight_decay": 0.01,
        "warmup": 0.5,
        "workers": 0,
        "threads": 1,
        "loggers": (),
        "out": folder / "runs",
    }
    return ToyConfig(**{**values, **fields})


class ToyData:
    def __init__(self, config: ToyConfig, *, train: bool) -> None:
        self.config = config
        self.train = train

    def __len__(self) -> int:
        return self.config.samples if self.train else self.config.samples // 2 + 1

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if self.train and index in self.config.broken:
            raise BrokenSample(f"{index}.png: cannot be decoded")
        label = index % 3
        image = torch.full((3, 8, 8), label / 3) + torch.linspace(0, 0.1, 64).view(8, 8) * (index % 5)
        if self.train and self.config.augment:
            image = image + 0.1 * torch.rand(3, 8, 8) + 0.1 * random.random() + 0.1 * float(np.random.rand())  # noqa: NPY002
        if self.train and index == self.config.nan_at:
            image = image * float("nan")
        return image, label


class ToyTask(Task):
    def __init__(self, net, config, classes):
        super().__init__(net, config, classes)
        self.top1 = MulticlassAccuracy(3, average="micro")

    def losses(self, batch):
        images, labels = batch
        return {"class": functional.cross_entropy(self.net(images), labels)}

    def batch_length(self, batch):
        return len(batch[1])

    def validation_step(self, batch, batch_idx):
        self.top1.update(self.net(batch[0]), batch[1])

    def on_validation_epoch_end(self):
        self.log("val_top1", self.top1.compute())
        self.top1.reset()


class ToyExperiment(Experiment[ToyConfig, ToyTask]):
    def open_data(self):
        return ("a", "b", "c"), f"{self.config.samples} samples"

    def build_network(self):
        norm = nn.BatchNorm2d(8) if self.config.norm == "batch" else nn.GroupNorm(2, 8)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Dropout(self.config.dropout), nn.Flatten(), nn.Linear(8 * 36, 3)
        )
        spec = gcnet.GlobalContext.spec(ratio=self.config.ratio)
        gcnet.insert(net, spec, match=self.config.match, example=torch.zeros(2, 3, 8, 8))
        return net

    def build_task(self, net):
        return ToyTask(net, self.config, self.classes)

    def train_loader(self, place):
        return train_loader(ToyData(self.config, train=True), self.config, place)

    def val_loader(self, place):
        return val_loader(ToyData(self.config, train=False), self.config, place)

    def val_files(self):
        return []

    def predict(self, task, inputs, out):
        raise NotImplementedError


def train(config: ToyConfig, run: Path | None = None) -> Path:
    """``gcnet.training.run.train`` with the toy among the tasks."""
    opened, loaded = training_run.open_experiment, training_run.load_config
    training_run.open_experiment = ToyExperiment
    training_run.load_config = lambda folder: config
    try:
        return training_run.train(config, run)
    finally:
        training_run.open_experiment, training_run.load_config = opened, loaded


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    given = dict(word.split("=", 1) for word in sys.argv[2:])
    train(toy_config(folder.parent, **{name: ast.literal_eval(value) for name, value in given.items()}), folder)
