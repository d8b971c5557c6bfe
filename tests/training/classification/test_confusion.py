"""Tables and pictures of what was taken for what."""

import csv

import pytest
import torch
from PIL import Image

pytest.importorskip("matplotlib")

from gcnet.training.classification.confusion import (
    LARGEST,
    confusion_figure,
    most_confused,
    write_classes,
    write_confusion,
)


def test_table_names_the_commonest_mistake(tmp_path):
    confusion = torch.tensor([[5, 1, 3], [0, 4, 0], [0, 0, 0]])
    write_classes(tmp_path / "classes.csv", confusion, ("a", "b,c", "d"))
    with (tmp_path / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["a", "b,c", "d"]
    assert (rows[0]["images"], rows[0]["recognised"], rows[0]["mistaken for"], rows[0]["times"]) == ("9", "5", "d", "3")
    assert float(rows[0]["accuracy"]) == pytest.approx(5 / 9, abs=1e-6)
    assert (rows[1]["accuracy"], rows[1]["mistaken for"]) == ("1.0", "")
    assert (rows[2]["images"], rows[2]["accuracy"]) == ("0", "")


def test_a_class_without_samples_has_no_accuracy(tmp_path):
    accuracies = write_confusion(tmp_path, torch.tensor([[3, 1], [0, 0]]), ("a", "b"))
    assert accuracies == {"a": 0.75, "b": None}
    assert {path.name for path in tmp_path.iterdir()} == {"classes.csv", "confusion.png"}


def test_most_confused_pairs_come_first():
    confusion = torch.diag(torch.full((1000,), 10))
    confusion[700, 3], confusion[3, 700], confusion[41, 999] = 9, 2, 5
    assert most_confused(confusion, 4) == [700, 3, 41, 999]
    chosen = most_confused(confusion, LARGEST)
    assert len(set(chosen)) == LARGEST


@pytest.mark.parametrize("classes", [2, 5, 1000])
def test_pictures_stay_readable(tmp_path, classes):
    confusion = torch.randint(0, 20, (classes, classes), generator=torch.Generator().manual_seed(0))
    confusion_figure(tmp_path / "confusion.png", confusion, [f"class number {index}" for index in range(classes)])
    with Image.open(tmp_path / "confusion.png") as image:
        assert 300 < image.width < 1600
        assert 300 < image.height < 1600


def test_picture_of_nothing(tmp_path):
    confusion_figure(tmp_path / "confusion.png", torch.zeros(2, 2, dtype=torch.long), ("a", "b"))
