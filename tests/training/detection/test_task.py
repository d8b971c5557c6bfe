"""The losses of detection."""

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.training.detection.detections import detect
from gcnet.training.detection.experiment import DetectionExperiment
from tests.training.detection.configs import config


def make_task(folder, **options):
    experiment = DetectionExperiment(config(folder, **options), ("disc", "square"))
    return experiment.build_task(experiment.build_network())


def target(boxes=(), size=(48, 64)):
    count = len(boxes)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.ones(count, dtype=torch.int64),
        "masks": torch.ones(count, *size, dtype=torch.uint8),
    }


def test_images_without_objects_train_the_whole_network(tmp_path):
    task = make_task(tmp_path)
    images = [torch.randint(0, 256, (3, 48, 64), dtype=torch.uint8)] * 2
    losses = task.losses((images, [target(), target()]))
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    assert losses["loss_box_reg"] == losses["loss_mask"] == losses["loss_rpn_box_reg"] == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in task.net.parameters())
    assert task.batch_length((images, None)) == 2


def test_losses_in_double_precision(tmp_path):
    task = make_task(tmp_path, masks=False).double()
    losses = task.losses(([torch.zeros(3, 48, 64, dtype=torch.uint8)], [target([[5, 5, 30, 30]])]))
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert losses["loss_classifier"].dtype == torch.float64


def test_mixed_precision(tmp_path):
    task = make_task(tmp_path, score_threshold=0.0)
    images = [torch.zeros(3, 48, 64, dtype=torch.uint8)]
    with torch.autocast("cpu", torch.bfloat16):
        losses = task.losses((images, [target([[5, 5, 30, 30]])]))
        (found,) = detect(task.eval().net, images)
    assert all(torch.isfinite(value) for value in losses.values())
    assert len(found.masks) == len(found.scores) == 10
