"""A classifier's training: its data, network, scores and predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from gcnet.files import whole_file
from gcnet.training import loading
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.confusion import confusion_figure, write_classes
from gcnet.training.classification.data import find_data
from gcnet.training.classification.images import LabelledImages, read_image
from gcnet.training.classification.pictures import MOST, contact_sheet
from gcnet.training.classification.task import ClassificationTask, class_accuracy
from gcnet.training.classification.transforms import train_transform, val_transform
from gcnet.training.experiment import Experiment
from gcnet.training.loading import Loader, Place
from gcnet.training.task import Task

LISTED = 5  # classes in a prediction


class ClassificationExperiment(Experiment[ClassificationConfig]):
    """Images in folders, shards or Hugging Face data sets; a classifier with or without blocks.

    Args:
        config: what to train.
    """

    def __init__(self, config: ClassificationConfig) -> None:
        super().__init__(config)
        self.data = find_data(config)
        self.classes = self.data.classes
        self.summary = self.data.summary
        if config.check_files:
            self.data.check()

    def build_network(self) -> nn.Module:
        """The backbone with weights and blocks, tried on one image.

        Raises:
            ValueError: naming the field that does not fit.
        """
        net = classifier(self.config, len(self.classes))
        for name, size in (("image_size", self.config.image_size), ("test_size", self.config.test_size)):
            if size is not None:
                _check_runs(net, name, size)
        return net

    def build_task(self, net: nn.Module) -> ClassificationTask:
        """The Lightning module around the network."""
        config = self.config
        return ClassificationTask(
            net,
            config,
            self.classes,
            label_smoothing=config.label_smoothing,
            mixup=config.mixup,
            cutmix=config.cutmix,
        )

    def train_loader(self, place: Place) -> Loader:
        """Shuffled, augmented batches of one process."""
        return self.data.train_loader(train_transform(self.config), self.config, place)

    def val_loader(self, place: Place) -> Loader:
        """Every validation image once, over all processes."""
        return self.data.val_loader(val_transform(self.config), self.config, place)

    def write_scores(self, folder: Path, task: Task) -> dict[str, object]:
        """Write ``classes.csv`` and ``confusion.png`` of the last validation; return the accuracy of every class."""
        assert isinstance(task, ClassificationTask)
        if task.confusion is None:
            return {}
        write_classes(folder / "classes.csv", task.confusion, self.classes)
        confusion_figure(folder / "confusion.png", task.confusion, self.classes)
        accuracies = class_accuracy(task.confusion).tolist()
        return {"per_class": dict(zip(self.classes, accuracies, strict=True))}

    def predict(self, task: Task, inputs: Sequence[Path], out: Path) -> Path:
        """Write the likeliest classes of every image into ``predictions.json``, a sheet of them into predictions.png.

        Args:
            task: trained, in eval mode, on its device.
            inputs: image files.
            out: an existing folder.

        Raises:
            BrokenSample: an image that cannot be read, by name.
        """
        numbered = LabelledImages([(path, index) for index, path in enumerate(inputs)], val_transform(self.config))
        found = []
        with torch.inference_mode():
            for images, numbers in loading.val_loader(numbered, self.config):
                probabilities, best = task(images.to(task.device)).float().softmax(1).topk(min(LISTED, len(task.classes)))
                for number, row, indices in zip(numbers.tolist(), probabilities.tolist(), best.tolist(), strict=True):
                    likeliest = [
                        {"class": task.classes[index], "probability": probability}
                        for index, probability in zip(indices, row, strict=True)
                    ]
                    found.append({"file": str(inputs[number]), "classes": likeliest})
        path = out / "predictions.json"
        with whole_file(path) as partial:
            partial.write_text(json.dumps(found, indent=2) + "\n")
        shown = found[:MOST]
        captions = [f"{one['classes'][0]['class']}  {one['classes'][0]['probability']:.0%}" for one in shown]
        pictures = [_thumbnail(Path(one["file"])) for one in shown]
        title = f"the first {MOST} of {len(found)} images" if len(found) > MOST else f"{len(found)} images"
        contact_sheet(out / "predictions.png", pictures, captions, title)
        return path


EXPERIMENT = ClassificationExperiment
