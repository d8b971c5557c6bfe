"""What a detector finds, against torchvision's own way of calling it, and as COCO's results."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from faster_coco_eval.core import mask as rle

from gcnet.models.classifiers import resnet
from gcnet.models.detectors import faster_rcnn, mask_rcnn
from gcnet.training.detection.coco import decode_masks
from gcnet.training.detection.detections import Detections, coco_results, detect, write_results

OPTIONS = {"min_size": 64, "max_size": 96, "channels": 16, "anchor_scale": 4, "box_score_thresh": 0.0}


def make(kind):
    net = kind(resnet((1, 1, 1, 1), block="basic"), 4, box_detections_per_img=20, **OPTIONS)
    return net.eval()


def test_it_finds_what_torchvision_finds():
    net = make(mask_rcnn)
    images = [torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8), torch.randint(0, 256, (3, 90, 60)).byte()]
    found = detect(net, images)
    with torch.no_grad():
        expected = net([image / 255 for image in images])
    for mine, theirs, image in zip(found, expected, images, strict=True):
        assert len(mine.scores) == 20
        np.testing.assert_allclose(mine.boxes, theirs["boxes"].numpy(), rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(mine.scores, theirs["scores"].numpy(), rtol=1e-5)
        assert mine.labels.tolist() == theirs["labels"].tolist()
        masks = decode_masks(mine.masks, image.shape[2], image.shape[1])
        assert (masks == (theirs["masks"][:, 0] > 0.5).numpy()).all()


def test_boxes_alone():
    (found,) = detect(make(faster_rcnn), [torch.zeros(3, 64, 64, dtype=torch.uint8)])
    assert found.masks is None
    assert found.boxes.shape == (20, 4)


def test_nothing_found():
    net = make(mask_rcnn)
    net.roi_heads.score_thresh = 1.0
    (found,) = detect(net, [torch.zeros(3, 64, 64, dtype=torch.uint8)])
    assert found.boxes.shape == (0, 4)
    assert found.masks == []


def test_results_are_those_of_coco(tmp_path):
    mask = np.zeros((10, 12), np.uint8)
    mask[2:5, 3:9] = 1
    counts = rle.encode(np.asfortranarray(mask))["counts"]
    found = Detections(np.array([[3, 2, 9, 5]], np.float32), np.array([2]), np.array([0.25], np.float32), [counts])
    results = coco_results(found, [5, 17], (10, 12), image_id=42)
    path = write_results(tmp_path / "results.json", results)
    assert json.loads(path.read_text()) == [
        {
            "image_id": 42,
            "category_id": 17,
            "bbox": [3, 2, 6, 3],
            "score": 0.25,
            "segmentation": {"size": [10, 12], "counts": counts.decode()},
        }
    ]
    assert write_results(path, []).read_text().split() == ["[", "]"]
