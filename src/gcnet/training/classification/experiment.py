"""A classifier's training: its data, network, scores and predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcnet.files import whole_file
from gcnet.training import loading
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.confusion import confusion_figure, write_classes
from gcnet.training.classification.data import find_data
from gcnet.training.classification.image_folder import LabelledImages
from gcnet.training.classification.image_source import ImageSource
from gcnet.training.classification.pictures import MOST, contact_sheet
from gcnet.training.classification.task import ClassificationTask, class_accuracy
from gcnet.training.classification.transforms import train_transform, val_transform
from gcnet.training.data_files import expand
from gcnet.training.experiment import Experiment
from gcnet.training.images import SUFFIXES, read_image
from gcnet.training.loading import Loader, Place
from gcnet.training.network import classifier

LISTED = 5  # classes in a prediction


class ClassificationExperiment(Experiment[ClassificationConfig, ClassificationTask]):
    """Images in folders, shards or Hugging Face data sets; a classifier with or without blocks."""

    data: ImageSource

    def open_data(self) -> tuple[tuple[str, ...], str]:
        """Find the images; look at them first, unless what is broken may be left out."""
        self.data = find_data(self.config)
        if self.config.check_files and self.config.on_broken == "error":
            self.data.check()
        return self.data.classes, self.data.summary

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

    def write_scores(self, folder: Path, task: ClassificationTask) -> dict[str, object]:
        """Write ``classes.csv`` and ``confusion.png`` of the last validation; return the accuracy of every class.

        That of a class without images is None.
        """
        if task.confusion is None:
            return {}
        write_classes(folder / "classes.csv", task.confusion, self.classes)
        confusion_figure(folder / "confusion.png", task.confusion, self.classes)
        accuracies = zip(self.classes, class_accuracy(task.confusion).tolist(), strict=True)
        return {"per_class": {name: None if isnan(accuracy) else accuracy for name, accuracy in accuracies}}

    def predict(self, task: ClassificationTask, inputs: Sequence[Path], out: Path) -> Path:
        """Write the likeliest classes of every image into ``predictions.json``, a sheet of them into predictions.png.

        Args:
            task: trained, in eval mode, on its device.
            inputs: image files, or folders of them.
            out: an existing folder.

        Raises:
            FileNotFoundError: a folder without images.
            BrokenSample: an image that cannot be read, by name.
        """
        files = expand(inputs, SUFFIXES, "image")
        found = []
        numbered = LabelledImages([(path, number) for number, path in enumerate(files)], val_transform(self.config))
        loader = loading.val_loader(numbered, self.config)
        with torch.inference_mode():
            for images, numbers in loader:
                likeliest = task(images.to(task.device)).float().softmax(1).topk(min(LISTED, len(task.classes)))
                for number, *answer in zip(numbers.tolist(), *(part.tolist() for part in likeliest), strict=True):
                    classes = [
                        {"class": task.classes[index], "probability": probability}
                        for probability, index in zip(*answer, strict=True)
                    ]
                    found.append({"file": str(files[number]), "classes": classes})
        path = out / "predictions.json"
        with whole_file(path) as partial:
            partial.write_text(json.dumps(found, indent=2) + "\n")
        for message in loader.broken:
            print(f"left out: {message}")
        _draw(out / "predictions.png", found)
        return path


def _check_runs(net: nn.Module, name: str, size: int) -> None:
    """Raise ValueError unless the network takes images of this size, which the field ``name`` asks for."""
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            net(torch.zeros(2, 3, size, size))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name}={size}: {type(net).__name__} does not run on such images ({reason})") from error
    finally:
        net.train(training)


def _draw(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """The first pictures with their likeliest classes."""
    pictures, captions = [], []
    for prediction in found[:MOST]:
        picture = read_image(Path(prediction["file"]))
        picture.thumbnail((200, 200))
        pictures.append(picture)
        likeliest = prediction["classes"][0]
        captions.append(f"{likeliest['class']}  {likeliest['probability']:.0%}")
    title = f"the first {MOST} of {len(found)} images" if len(found) > MOST else f"{len(found)} images"
    contact_sheet(path, pictures, captions, title)


EXPERIMENT = ClassificationExperiment
