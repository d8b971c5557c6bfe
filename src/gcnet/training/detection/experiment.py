"""Detection on data in COCO's format."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from gcnet.training.data_files import expand
from gcnet.training.detection.coco import CocoAnnotations
from gcnet.training.detection.coco_folder import read_folder
from gcnet.training.detection.config import DetectionConfig
from gcnet.training.detection.detections import coco_results, detect, ground_truth, write_results
from gcnet.training.detection.images import ScoredImages, TrainingImages, read_image, shape_problem
from gcnet.training.detection.metrics import all_results
from gcnet.training.detection.network import build_detector
from gcnet.training.detection.pictures import draw, side_by_side
from gcnet.training.detection.task import DetectionTask
from gcnet.training.detection.transforms import TrainTransform, collate, shape_groups
from gcnet.training.experiment import Experiment
from gcnet.training.images import SUFFIXES
from gcnet.training.loading import ALONE, BrokenSample, Loader, Place, train_loader, val_loader

SHOWN = 8  # validation images in the picture of a run


class DetectionExperiment(Experiment[DetectionConfig, DetectionTask]):
    """A detector and data in COCO's format.

    Attributes:
        train: annotations of the training images.
        val: of the validation images.
    """

    train: CocoAnnotations
    val: CocoAnnotations

    def open_data(self) -> tuple[tuple[str, ...], str]:
        """Find and check annotations and images."""
        self.train, self.val = read_folder(self.config)
        classes = tuple(self.train.categories.values())
        splits = f"{_describe(self.train)} to train on, {_describe(self.val)} to score"
        return classes, f"{splits}, {len(classes)} classes"

    def build_network(self) -> nn.Module:
        """Mask R-CNN or Faster R-CNN with weights and blocks."""
        return build_detector(self.config, len(self.classes))

    def build_task(self, net: nn.Module) -> DetectionTask:
        """The Lightning module around the network."""
        return DetectionTask(net, self.config, self.classes, getattr(self, "val", None))

    def train_loader(self, place: Place = ALONE) -> Loader:
        """Training batches of one process: images of one shape group, where that fills batches."""
        every = range(len(self.train.images))
        numbers = [number for number in every if self.config.keep_empty or self.train.objects(number)]
        images = [self.train.images[number] for number in numbers]
        groups = shape_groups(images, self.config.batch_size * place.world) if self.config.group_shapes else None
        dataset = TrainingImages(self.train, numbers, TrainTransform(self.config.mirror))
        return train_loader(dataset, self.config, place, collate=collate, groups=groups)

    def val_loader(self, place: Place = ALONE) -> Loader:
        """Validation images of one process."""
        return val_loader(ScoredImages(self.val), self.config, place, collate=collate)

    def val_files(self) -> list[Path]:
        """Validation images."""
        return [self.val.folder / image.name for image in self.val.images]

    def write_scores(self, folder: Path, task: DetectionTask) -> dict[str, object]:
        """detections.json in COCO's format of results, detections.png, and the scores per class."""
        found = task.found
        write_results(folder / "detections.json", all_results(self.val, found))
        pairs = []
        for number in sorted(found)[:SHOWN]:
            entry = self.val.images[number]
            image = read_image(self.val.folder / entry.name, entry)
            truth = draw(image, ground_truth(self.val, number), self.classes)
            pairs.append((truth, draw(image, found[number], self.classes)))
        side_by_side(pairs, ("annotations", "detections")).save(folder / "detections.png")
        return {kind: dataclasses.asdict(scores) for kind, scores in task.scores.items()}

    def predict(self, task: DetectionTask, inputs: Sequence[Path], out: Path) -> Path:
        """predictions.json and a picture of every image.

        The format is that of COCO's results, with names of files and classes; ``category_id`` counts classes from 1.
        """
        categories = range(1, len(self.classes) + 1)
        results: list[dict[str, Any]] = []
        for number, path in enumerate(expand(inputs, SUFFIXES, "image"), 1):
            with self.leaving_out_broken():
                image = read_image(path)
                if problem := shape_problem(path, image.shape[-2:], self.config.max_size):
                    raise BrokenSample(problem)
                (found,) = detect(task.net, [image.to(task.device)])
                size = (image.shape[-2], image.shape[-1])
                for result in coco_results(found, categories, size, file_name=str(path), image_id=number):
                    results.append({**result, "category": self.classes[result["category_id"] - 1]})
                draw(image, found, self.classes).save(out / f"{number:04}_{path.stem}.jpg", quality=92)
        return write_results(out / "predictions.json", results)


def _describe(coco: CocoAnnotations) -> str:
    empty = sum(not coco.objects(index) for index in range(len(coco.images)))
    without = f" ({empty} without objects)" if empty else ""
    skipped = f", {len(coco.invalid)} annotations left out" if coco.invalid else ""
    return f"{len(coco.images)} images{without} with {int((~coco.crowd).sum())} objects{skipped}"


EXPERIMENT = DetectionExperiment
