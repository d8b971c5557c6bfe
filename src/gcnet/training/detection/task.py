"""Object detection as a Lightning task: torchvision's losses, COCO's scores of boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch import distributed as dist

from gcnet.training.detection.coco import CocoAnnotations
from gcnet.training.detection.config import DetectionConfig
from gcnet.training.detection.detections import Detections, detect, to_float
from gcnet.training.detection.metrics import CocoScores, coco_scores
from gcnet.training.task import Task


class DetectionTask(Task):
    """Faster R-CNN or Mask R-CNN of torchvision.

    Batches are lists of images [3, H, W] uint8 and of targets in training, of images and their numbers in validation.

    Args:
        net: the detector.
        config: of the training.
        classes: names, of label 1 first.
        coco: what is on the validation images; None if nothing is to be scored.

    Attributes:
        found: on the first process, what was found in each image of the last validation, by its number.
        scores: of the last validation, by "box" and "mask".
    """

    config: DetectionConfig

    def __init__(
        self, net: nn.Module, config: DetectionConfig, classes: Sequence[str], coco: CocoAnnotations | None = None
    ) -> None:
        super().__init__(net, config, classes)
        self.coco = coco
        self.found: dict[int, Detections] = {}
        self.scores: dict[str, CocoScores] = {}

    def losses(self, batch: tuple[list[Tensor], list[dict[str, Tensor]]]) -> dict[str, Tensor]:
        """torchvision's: classifier, box_reg and mask of the heads, objectness and rpn_box_reg of the proposals."""
        images, targets = batch
        return self.net([to_float(image, self.net) for image in images], targets)

    def batch_length(self, batch: tuple[list[Tensor], Any]) -> int:
        """Images."""
        return len(batch[0])

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.found = {}

    def validation_step(self, batch: tuple[list[Tensor], list[int]], batch_idx: int) -> None:
        """Keep what is found; images go one by one, because padding would change it."""
        for image, number in zip(*batch, strict=True):
            (self.found[number],) = detect(self.net, [image])

    def on_validation_epoch_end(self) -> None:
        """Bring together what all processes found, score it on the first of them, log the precisions on all."""
        self._gather()
        if self.global_rank == 0:
            self.score()
        self.scores = self.trainer.strategy.broadcast(self.scores)
        for kind, scores in self.scores.items():
            precisions = {name: value for name, value in scores.overall.items() if name.startswith("ap")}
            self.log_dict({f"val_{kind}_{name}": value for name, value in precisions.items()})

    def score(self) -> None:
        """Compare what was found with the annotations."""
        if self.coco is None:
            raise RuntimeError("this task was built without annotations to score against")
        for kind in ("box", "mask") if self.config.masks else ("box",):
            self.scores[kind] = coco_scores(self.coco, self.found, kind, self.config.max_detections)

    def _gather(self) -> None:
        if self.trainer.world_size > 1:
            parts: list[Any] | None = [None] * self.trainer.world_size if self.global_rank == 0 else None
            dist.gather_object(self.found, parts)
            self.found = {number: found for part in parts or () for number, found in part.items()}
