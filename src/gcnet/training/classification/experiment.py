"""A classifier's training: its data, network, scores and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from gcnet.training import loading
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.confusion import write_confusion
from gcnet.training.classification.data import find_data
from gcnet.training.classification.image_folder import ImageFolder, LabelledImages
from gcnet.training.classification.image_source import ImageSource
from gcnet.training.classification.pictures import MOST, contact_sheet
from gcnet.training.classification.task import ClassificationTask, likeliest
from gcnet.training.classification.transforms import train_transform, val_transform
from gcnet.training.data_files import expand
from gcnet.training.experiment import Experiment
from gcnet.training.images import SUFFIXES, read_image
from gcnet.training.loading import Loader, Place
from gcnet.training.network import check_runs, classifier
from gcnet.training.run_folder import save_json


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
                check_runs(net, (2, 3, size, size), f"{name}={size}")
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

    def val_files(self) -> list[Path]:
        """Validation images; none of shards and Hugging Face data sets."""
        return [path for path, _ in self.data.files.val] if isinstance(self.data, ImageFolder) else []

    def write_scores(self, folder: Path, task: ClassificationTask) -> dict[str, object]:
        """Write ``classes.csv`` and ``confusion.png`` of the last validation; return the accuracy of every class.

        That of a class without images is None.
        """
        if task.confusion is None:
            return {}
        return {"per_class": write_confusion(folder, task.confusion, self.classes)}

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
        for images, numbers in loader:
            probabilities = task(images.to(task.device)).float().softmax(1)
            for number, row in zip(numbers.tolist(), probabilities, strict=True):
                found.append({"file": str(files[number]), "classes": likeliest(row, self.classes)})
        save_json(out / "predictions.json", found)
        for message in loader.broken:
            print(f"left out: {message}")
        _draw(out / "predictions.png", found)
        return out / "predictions.json"


def _draw(path: Path, found: Sequence[dict[str, Any]]) -> None:
    """The first pictures with their likeliest classes."""
    pictures, captions = [], []
    for prediction in found[:MOST]:
        picture = read_image(Path(prediction["file"]))
        picture.thumbnail((200, 200))
        pictures.append(picture)
        first = prediction["classes"][0]
        captions.append(f"{first['class']}  {first['probability']:.0%}")
    title = f"the first {MOST} of {len(found)} images" if len(found) > MOST else f"{len(found)} images"
    contact_sheet(path, pictures, captions, title)


EXPERIMENT = ClassificationExperiment
