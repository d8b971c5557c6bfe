"""The Lightning task of detection: losses, and scores over all processes."""

from types import SimpleNamespace

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

pytest.importorskip("lightning")

from gcnet.training.detection.experiment import DetectionExperiment
from gcnet.training.detection.task import DetectionTask
from tests.training.detection.configs import config
from tests.training.detection.shapes import make_coco


def empty(size=(48, 64)):
    return {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, *size, dtype=torch.uint8),
    }


def test_images_without_objects_train_the_whole_network(tmp_path):
    task = DetectionExperiment(config(tmp_path), ("a", "b")).build_task_and_network()
    images = [torch.randint(0, 256, (3, 48, 64), dtype=torch.uint8)] * 2
    losses = task.losses((images, [empty(), empty()]))
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    assert losses["loss_box_reg"] == losses["loss_mask"] == losses["loss_rpn_box_reg"] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in task.net.parameters())
    assert task.batch_length((images, None)) == 2
