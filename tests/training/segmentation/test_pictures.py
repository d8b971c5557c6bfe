"""Pictures show the labels they are given, and label files hold them."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

from gcnet.training.segmentation.pictures import (
    GREY,
    draw_class_iou,
    draw_examples,
    draw_prediction,
    overlay,
    palette,
    save_labels,
)
from gcnet.training.segmentation.task import Example


def test_every_class_has_a_colour_of_its_own():
    colours = palette(150)
    assert len(np.unique(colours, axis=0)) == 150
    assert np.array_equal(palette(9), colours[:9])


def test_an_overlay_mixes_image_and_colours():
    image = torch.full((3, 2, 2), 200, dtype=torch.uint8)
    labels = torch.tensor([[1, 255, 0, 1], [1, 255, 0, 1]], dtype=torch.uint8)
    mixed = np.asarray(overlay(image, labels, 3)).astype(float)
    assert mixed.shape == (2, 4, 3)
    np.testing.assert_allclose(mixed[0, 0], 0.4 * 200 + 0.6 * palette(3)[1], atol=1)
    np.testing.assert_allclose(mixed[0, 1], 0.4 * 200 + 0.6 * GREY, atol=1)


@pytest.mark.parametrize(("classes", "mode"), [(3, "P"), (256, "P"), (700, "I;16")])
def test_label_files_hold_the_labels(classes, mode, tmp_path):
    labels = torch.arange(35).view(5, 7) * (classes - 1) // 34
    save_labels(tmp_path / "labels.png", labels, classes)
    with Image.open(tmp_path / "labels.png") as picture:
        assert picture.mode == mode
        assert np.array_equal(np.asarray(picture), labels.numpy())
        if classes == 3:
            assert picture.getpalette()[:9] == palette(3).flatten().tolist()


def test_figures_of_odd_shapes_and_many_classes(tmp_path):
    names = [f"class {index}" for index in range(60)]
    image = torch.zeros(3, 9, 31, dtype=torch.uint8)
    truth = torch.arange(9 * 31).view(9, 31).remainder(60).to(torch.uint8)
    truth[0] = 255
    draw_examples(tmp_path / "examples.png", [Example(image, truth, truth.long().clamp(max=59))], names)
    draw_prediction(tmp_path / "prediction.png", image, truth, names)
    draw_class_iou(tmp_path / "iou.png", [0.5, float("nan")] * 30, names)
    draw_prediction(
        tmp_path / "tall.png", torch.zeros(3, 3000, 1, dtype=torch.uint8), torch.zeros(3000, 1).long(), names
    )
    with Image.open(tmp_path / "tall.png") as tall:
        assert tall.height < 3000
    assert all((tmp_path / f"{name}.png").stat().st_size > 3000 for name in ("examples", "prediction", "iou"))
