"""What was taken for what: a table of classes and a picture of the confusion matrix."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from math import isnan
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gcnet.files import whole_file

LARGEST = 30  # classes of which names and cells can be read in one picture


def write_confusion(folder: Path, confusion: Tensor, classes: Sequence[str]) -> dict[str, float | None]:
    """Write ``classes.csv`` and ``confusion.png``; return the accuracy of every class, None of one without samples."""
    write_classes(folder / "classes.csv", confusion, classes)
    confusion_figure(folder / "confusion.png", confusion, classes)
    accuracies = zip(classes, class_accuracy(confusion).tolist(), strict=True)
    return {name: None if isnan(accuracy) else accuracy for name, accuracy in accuracies}


def class_accuracy(confusion: Tensor) -> Tensor:
    """Share of the samples of each class that were recognised; NaN for a class without samples.

    Args:
        confusion: counts [classes, classes], true classes by predicted ones.

    Example:
        >>> class_accuracy(torch.tensor([[3, 1], [0, 2]]))
        tensor([0.7500, 1.0000], dtype=torch.float64)
    """
    return confusion.diag().double() / confusion.sum(1).double()


def write_classes(path: Path, confusion: Tensor, classes: Sequence[str]) -> None:
    """A row per class: images, how many were recognised, and what the others were taken for most often.

    Args:
        path: of the CSV file.
        confusion: counts [classes, classes], true classes by predicted ones.
        classes: their names.

    Example:
        >>> path = getfixture("tmp_path") / "classes.csv"
        >>> write_classes(path, torch.tensor([[3, 1], [0, 2]]), ("cat", "dog"))
        >>> print(path.read_text().strip())
        class,images,recognised,accuracy,mistaken for,times
        cat,4,3,0.75,dog,1
        dog,2,2,1.0,,0
    """
    wrong = confusion - torch.diag(confusion.diag())
    times, mistakes = wrong.max(1)
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("class", "images", "recognised", "accuracy", "mistaken for", "times"))
        for index, accuracy in enumerate(class_accuracy(confusion).tolist()):
            count, right, most = int(confusion[index].sum()), int(confusion[index, index]), int(times[index])
            mistake = classes[int(mistakes[index])] if most else ""
            table.writerow((classes[index], count, right, round(accuracy, 6) if count else "", mistake, most))


def confusion_figure(path: Path, confusion: Tensor, classes: Sequence[str]) -> None:
    """The confusion matrix, each row in shares of its class; of many classes, those that are confused most.

    Args:
        path: of the picture.
        confusion: counts [classes, classes], true classes by predicted ones.
        classes: their names.
    """
    count = len(classes)
    chosen = list(range(count)) if count <= LARGEST else most_confused(confusion, LARGEST)
    shares = (confusion / confusion.sum(1, keepdim=True).clamp(min=1))[chosen][:, chosen].numpy()
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name in (classes[index] for index in chosen)]
    side = 3.2 + 0.3 * len(chosen)
    figure = Figure(figsize=(side + 1, side), dpi=110, layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(chosen)), names, rotation=90 if len(chosen) > 6 else 0)
    axes.set_yticks(range(len(chosen)), names)
    axes.tick_params(labelsize=8)
    axes.set(xlabel="predicted", ylabel="true")
    right = float(confusion.trace() / confusion.sum().clamp(min=1))
    which = "" if count == len(chosen) else f"; the {len(chosen)} of {count} classes that are confused most"
    axes.set_title(f"{right:.1%} of {int(confusion.sum()):,} right{which}", fontsize=10)
    for row, column in zip(*(shares >= 0.005).nonzero(), strict=True):
        colour = "white" if shares[row, column] > 0.55 else "black"
        percent = f"{100 * shares[row, column]:.0f}"
        axes.text(column, row, percent, ha="center", va="center", color=colour, fontsize=7)
    figure.colorbar(picture, ax=axes, shrink=0.8, format=lambda share, _: f"{share:.0%}", label="of the true class")
    figure.savefig(path, bbox_inches="tight")


def most_confused(confusion: Tensor, count: int) -> list[int]:
    """``count`` classes, the pairs that are confused most first; filled up by those recognised least.

    Args:
        confusion: counts [classes, classes], true classes by predicted ones.
        count: how many to choose.

    Example:
        >>> most_confused(torch.tensor([[9, 0, 1, 0], [0, 5, 0, 0], [4, 0, 6, 0], [0, 0, 0, 5]]), 2)
        [2, 0]
    """
    shares = confusion.double() / confusion.sum(1, keepdim=True).clamp(min=1)
    mistakes = shares.clone().fill_diagonal_(0)
    classes = len(confusion)
    pairs = mistakes.flatten().argsort(descending=True, stable=True)[: int((mistakes > 0).sum())].tolist()
    order = [index for pair in pairs for index in divmod(pair, classes)]
    order += shares.diag().argsort(stable=True).tolist()
    return list(dict.fromkeys(order))[:count]
