"""Semantic segmentation as an experiment: masks in folders, networks with blocks, overlays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import pil_to_tensor

from gcnet.training.data_files import expand
from gcnet.training.experiment import Experiment
from gcnet.training.images import SUFFIXES, read_image
from gcnet.training.loading import Loader, Place, train_loader, val_loader
from gcnet.training.run_folder import save_json
from gcnet.training.segmentation.config import SegmentationConfig
from gcnet.training.segmentation.labels import CITYSCAPES, label_table
from gcnet.training.segmentation.mask_folder import (
    MaskedImageFiles,
    MaskedImages,
    Pair,
    check_pairs,
    class_names,
    find_pairs,
)
from gcnet.training.segmentation.network import at_size, build_network, predict_logits
from gcnet.training.segmentation.pictures import draw_class_iou, draw_examples, draw_prediction, save_labels
from gcnet.training.segmentation.task import SegmentationTask, class_iou
from gcnet.training.segmentation.transforms import TrainTransform, ValTransform, by_size, resize_image


class SegmentationExperiment(Experiment[SegmentationConfig, SegmentationTask]):
    """Train a network that labels every pixel, on one of the layouts of PNG masks.

    Example:
        >>> from gcnet.recipes.scenes_segmentation import scenes_segmentation
        >>> from gcnet.training.scenes.make import SceneSettings, make_scenes
        >>> data = make_scenes("segmentation", getfixture("tmp_path") / "scenes", SceneSettings(train=40, val=2))
        >>> experiment = SegmentationExperiment(scenes_segmentation(data))
        >>> experiment.summary
        '40 training and 2 validation images (plain layout) of 3 classes'
    """

    data: MaskedImageFiles

    def open_data(self) -> tuple[tuple[str, ...], str]:
        """Find the files and the names of the classes, and read the headers if asked to."""
        config = self.config
        self.data = files = find_pairs(config.data)
        classes = _class_names(config)
        if config.ignore_index < len(classes):
            raise ValueError(
                f"ignore_index={config.ignore_index} is the class {classes[config.ignore_index]!r}; give a value from "
                f"{len(classes)} on"
            )
        if config.check_files and config.on_broken == "error":
            check_pairs([*files.train, *files.val])
        counts = f"{len(files.train)} training and {len(files.val)} validation images ({files.layout} layout)"
        return classes, f"{counts} of {len(classes)} classes"

    def build_network(self) -> nn.Module:
        """FCN, DeepLabV3 or the small network of the scenes, with blocks."""
        return build_network(self.config, len(self.classes))

    def build_task(self, net: nn.Module) -> SegmentationTask:
        """Losses and scores."""
        return SegmentationTask(net, self.config, self.classes)

    def train_loader(self, place: Place) -> Loader:
        """Crops, augmented, with their masks."""
        return train_loader(self._images(self.data.train, TrainTransform(self.config)), self.config, place)

    def val_loader(self, place: Place) -> Loader:
        """Whole images, those of one size together."""
        images = self._images(self.data.val, ValTransform(self.config))
        return val_loader(images, self.config, place, collate=by_size)

    def _images(self, pairs: Sequence[Pair], transform: TrainTransform | ValTransform) -> MaskedImages:
        table = label_table(self.config.labels, len(self.classes), self.config.ignore_index)
        return MaskedImages(pairs, table, transform)

    def val_files(self) -> list[Path]:
        """Validation images, without their masks."""
        return [pair.image for pair in self.data.val]

    def write_scores(self, folder: Path, task: SegmentationTask) -> dict[str, object]:
        """Write examples.png and class_iou.png; return IoU and share of the pixels per class."""
        iou = class_iou(task.confusion).tolist()
        draw_class_iou(folder / "class_iou.png", iou, self.classes)
        if task.examples:
            draw_examples(folder / "examples.png", task.examples, self.classes)
        shares = task.confusion.sum(1) / task.confusion.sum()
        return {
            "class_iou": {
                name: None if math.isnan(value) else value for name, value in zip(self.classes, iou, strict=True)
            },
            "class_share": dict(zip(self.classes, shares.tolist(), strict=True)),
        }

    def predict(self, task: SegmentationTask, inputs: Sequence[Path], out: Path) -> Path:
        """Write the labels of every image as a PNG file, an overlay, and shares of the classes in predictions.json."""
        entries = []
        for number, path in enumerate(expand(inputs, SUFFIXES, "image"), 1):
            with self.leaving_out_broken():
                image = pil_to_tensor(read_image(path))
                entries.append({"file": str(path), **self._label(task, image, out, f"{number:04}_{path.stem}")})
        save_json(out / "predictions.json", {"classes": self.classes, "images": entries})
        return out / "predictions.json"

    def _label(self, task: SegmentationTask, image: Tensor, out: Path, name: str) -> dict[str, object]:
        """Label an image, write both pictures; return their names and the shares of the classes that are there."""
        given = resize_image(image, self.config.resize)[None].to(task.device)
        logits = at_size(predict_logits(task.net, task.prepare(given), self.config), tuple(image.shape[1:]))
        labels = logits[0].argmax(0).cpu()
        files = {"labels": f"{name}_labels.png", "overlay": f"{name}_overlay.png"}
        save_labels(out / files["labels"], labels, len(self.classes))
        draw_prediction(out / files["overlay"], image, labels, self.classes)
        shares = torch.bincount(labels.flatten(), minlength=len(self.classes)) / labels.numel()
        named = zip(self.classes, shares.tolist(), strict=True)
        return {**files, "shares": {cls: share for cls, share in named if share}}


def _class_names(config: SegmentationConfig) -> tuple[str, ...]:
    """Names given, or of the published labels, or in the data."""
    if config.labels == "cityscapes_ids":
        names = tuple(CITYSCAPES.values())
        if config.classes not in ((), names):
            raise ValueError(f"classes={','.join(config.classes)}: labels='cityscapes_ids' has its own {len(names)}")
        return names
    names = config.classes or class_names(config.data) or ()
    if not names:
        raise FileNotFoundError(
            f"data={config.data}: holds no classes.txt with a name per line, in the order of the labels; write one, or "
            "give classes='sky,road,...', or labels='cityscapes_ids' for the label ids of Cityscapes"
        )
    return names


EXPERIMENT = SegmentationExperiment
