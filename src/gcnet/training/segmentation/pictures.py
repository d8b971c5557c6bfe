"""Pictures of labels: overlays on images beside the truth, scores per class, and masks as PNG files."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gcnet.files import whole_file
from gcnet.training.curves import COLOURS
from gcnet.training.segmentation.task import Example

GOLDEN_TURN = 0.381966  # of the colour circle
GREY = 128  # of pixels that are ignored
OPACITY = 0.6
TALLEST = 24  # inches of a prediction's picture
LEGEND = 30  # classes that a legend names


def palette(count: int) -> NDArray[np.uint8]:
    """A colour [count, 3] for every class: those of the curves first, then hues a golden angle apart.

    Example:
        >>> palette(8)[[1, 7]].tolist()
        [[213, 94, 0], [217, 43, 43]]
    """
    named = [to_rgb(colour) for colour in COLOURS[:count]]
    further = [
        colorsys.hsv_to_rgb(index * GOLDEN_TURN % 1, (0.8, 0.46, 0.95)[index % 3], (0.85, 0.7, 0.55)[index % 3])
        for index in range(count - len(named))
    ]
    return (np.array(named + further) * 255).round().astype(np.uint8)


def overlay(image: Tensor, labels: Tensor, classes: int) -> Image.Image:
    """An image [3, H, W] uint8, scaled to the size of its labels [h, w], under their colours.

    Labels beyond the classes are grey.

    Example:
        >>> import torch
        >>> overlay(torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.uint8), 2).size
        (8, 8)
    """
    colours = np.vstack([palette(classes), np.full(3, GREY, np.uint8)])
    values = labels.numpy()
    picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(values.shape[::-1])
    tint = Image.fromarray(colours[np.minimum(values, classes)])
    return Image.blend(picture, tint, OPACITY)


def save_labels(path: Path, labels: Tensor, classes: int) -> None:
    """Labels [H, W] as a PNG file of one channel: 8 bits with the colours as palette, or 16 bits beyond 256 classes."""
    if classes <= 256:
        picture = Image.fromarray(labels.numpy().astype(np.uint8))
        picture.putpalette(palette(classes).tobytes())
    else:
        picture = Image.fromarray(labels.numpy().astype(np.uint16))
    with whole_file(path) as partial:
        picture.save(partial)


def draw_examples(path: Path, examples: Sequence[Example], classes: Sequence[str]) -> None:
    """Rows of image, truth and prediction, with a legend of the classes in them."""
    figure = Figure(figsize=(9, 3 * len(examples) + 0.6), dpi=110, layout="constrained")
    axes = figure.subplots(len(examples), 3, squeeze=False)
    for row, example in zip(axes, examples, strict=True):
        row[0].imshow(example.image.permute(1, 2, 0).numpy())
        for cell, labels in zip(row[1:], (example.truth, example.predicted), strict=True):
            cell.imshow(overlay(example.image, labels, len(classes)))
    for cell, title in zip(axes[0], ("image", "truth", "prediction"), strict=True):
        cell.set_title(title)
    for cell in axes.flat:
        cell.set_xticks([])
        cell.set_yticks([])
    _legend(figure, [part for example in examples for part in (example.truth, example.predicted)], classes)
    figure.savefig(path)


def draw_prediction(path: Path, image: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    """One image under its labels, with a legend."""
    height, width = labels.shape
    figure = Figure(figsize=(8, min(8 * height / width, TALLEST) + 0.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.imshow(overlay(image, labels, len(classes)))
    axes.set_axis_off()
    _legend(figure, [labels], classes)
    figure.savefig(path)


def _legend(figure: Figure, labels: Sequence[Tensor], classes: Sequence[str]) -> None:
    """Names and colours of the classes that occur, the largest first if there are too many."""
    values = np.concatenate([part.numpy().ravel() for part in labels])
    counts = np.bincount(values, minlength=len(classes))[: len(classes)]
    found = [int(index) for index in np.argsort(-counts, kind="stable")[:LEGEND] if counts[index]]
    colours = palette(len(classes)) / 255
    patches = [Patch(color=tuple(colours[index]), label=classes[index]) for index in sorted(found)]
    figure.legend(handles=patches, loc="outside lower center", ncols=5, frameon=False, fontsize=8)


def draw_class_iou(path: Path, iou: Sequence[float], classes: Sequence[str]) -> None:
    """A bar per class; a class that is neither there nor predicted has none."""
    figure = Figure(figsize=(7, 0.22 * len(classes) + 1.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(classes)), np.nan_to_num(iou), color="#0072b2")
    axes.set_yticks(range(len(classes)), classes)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="intersection over union", ylim=(len(classes) - 0.4, -0.6))
    axes.grid(alpha=0.3, axis="x")
    figure.savefig(path)
