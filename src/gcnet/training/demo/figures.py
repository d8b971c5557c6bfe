"""Figures of the demonstration. Colours are Okabe and Ito's, which colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from gcnet.blocks import GlobalContext, SimplifiedNonLocal
from gcnet.training.demo.results import Result
from gcnet.training.scenes.compose import CLASS_NAMES
from gcnet.training.segmentation.scene_net import SCENE_MEAN, SCENE_STD, SceneNet
from gcnet.training.segmentation.transforms import normalise

LABEL_COLOURS = ("#1a1a1a", "#56b4e9", "#e69f00")
LINES = {"none": ("#000000", "o"), "gc": ("#d55e00", "s"), "nl": ("#0072b2", "^"), "snl": ("#009e73", "v")}
OTHER_LINES = (("#cc79a7", "D"), ("#56b4e9", "P"), ("#e69f00", "X"), ("#999999", "*"))
TITLES = {"none": "plain", "gc": "GC", "nl": "non-local", "snl": "SNL", "se": "SE", "sk": "SK", "scse": "scSE"}


@dataclass(frozen=True)
class Predictions:
    """What the networks say about the validation scenes.

    Attributes:
        images: uint8 [N, H, W, 3].
        truth: uint8 [N, H, W].
        predicted: per variant, uint8 [N, H, W].
        brightness: [N], mean brightness of the pixels of each scene's digits.
    """

    images: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    predicted: dict[str, NDArray[np.uint8]]
    brightness: NDArray[np.float64]


@torch.no_grad()
def predict(nets: Mapping[str, SceneNet], scenes: TensorDataset) -> Predictions:
    """Run every network over all scenes."""
    images, masks = scenes.tensors
    predicted = {
        name: torch.cat([net(normalise(part, SCENE_MEAN, SCENE_STD)).argmax(1) for part in images.split(100)])
        .byte()
        .numpy()
        for name, net in nets.items()
    }
    on_digits = masks > 0
    grey = images.float().mean(1) / 255
    brightness = (grey * on_digits).sum((1, 2)) / on_digits.sum((1, 2)).clamp(min=1)
    return Predictions(images.permute(0, 2, 3, 1).numpy(), masks.numpy(), predicted, brightness.double().numpy())


def spread_over_brightness(predictions: Predictions, count: int) -> list[int]:
    """``count`` scenes from dark to bright at even steps of rank: chosen by the scenes, not the scores."""
    order = np.argsort(predictions.brightness, kind="stable")
    return [int(order[round((step + 0.5) / count * len(order) - 0.5)]) for step in range(min(count, len(order)))]


@torch.no_grad()
def attention_maps(net: SceneNet, images: Tensor) -> NDArray[np.float32]:
    """Weights over positions [N, h, w] of the network's last block, which is a GC or SNL block."""
    block = net.get_submodule("block2.branch.context_block")
    if not isinstance(block, GlobalContext | SimplifiedNonLocal):
        raise TypeError(f"{type(block).__name__} has no attention map shared by all positions; GC and SNL have")
    seen: list[Tensor] = []
    hook = block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    net(normalise(images, SCENE_MEAN, SCENE_STD))
    hook.remove()
    return block.attention_map(seen[0]).view(-1, *seen[0].shape[2:]).numpy()


def attention_on_bright(maps: NDArray[np.float32], truth: NDArray[np.uint8]) -> tuple[float, float]:
    """Share of the attention [N, h, w] on brighter digits of the truth [N, H, W], and their share of the area."""
    cells = torch.from_numpy((truth == 2).astype(np.float32))[:, None]
    area = nn.functional.adaptive_avg_pool2d(cells, maps.shape[1:])[:, 0].numpy()
    return float((maps * area).sum((1, 2)).mean()), float(area.mean())


def share_right(predictions: Predictions, name: str) -> NDArray[np.float64]:
    """Per scene [N], the share of digit pixels whose label is right."""
    on_digits = predictions.truth > 0
    right = (predictions.predicted[name] == predictions.truth) & on_digits
    return right.sum((1, 2)) / on_digits.sum((1, 2)).clip(min=1)


def scene_figure(
    path: Path, predictions: Predictions, chosen: Sequence[int], attending: str | None, maps: NDArray[np.float32] | None
) -> None:
    """Rows of scenes: scene, truth, every prediction, and the attention maps [N, h, w] of the variant ``attending``."""
    columns = 2 + len(predictions.predicted) + (maps is not None)

    figure = Figure(figsize=(1.75 * columns, 1.95 * len(chosen) + 0.75), dpi=110, layout="constrained")
    axes = figure.subplots(len(chosen), columns, squeeze=False)
    colours = ListedColormap(LABEL_COLOURS)
    for row, index in zip(axes, chosen, strict=True):
        row[0].imshow(predictions.images[index])
        row[0].set_xlabel(f"digits' mean brightness {predictions.brightness[index]:.2f}", fontsize=8)
        row[1].imshow(predictions.truth[index], cmap=colours, vmin=0, vmax=2, interpolation="nearest")
        for cell, name in zip(row[2:], predictions.predicted, strict=False):
            cell.imshow(predictions.predicted[name][index], cmap=colours, vmin=0, vmax=2, interpolation="nearest")
            cell.set_xlabel(f"{share_right(predictions, name)[index]:.0%} of digit pixels right", fontsize=8)
        if maps is not None:
            row[-1].imshow(maps[index], cmap="cividis", interpolation="nearest", vmin=0)
    attention = [f"{title(attending)} attention"] if attending else []
    for cell, text in zip(axes[0], ["scene", "truth", *map(title, predictions.predicted), *attention], strict=True):
        cell.set_title(text, fontsize=11)
    for cell in axes.flat:
        cell.set_xticks([])
        cell.set_yticks([])
    patches = [Patch(color=colour, label=name) for colour, name in zip(LABEL_COLOURS, CLASS_NAMES, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    figure.savefig(path)


def curve_figure(path: Path, results: Sequence[Result]) -> None:
    """Validation mIoU after every epoch; one line per variant, a band from the lowest to the highest seed."""
    figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, colour, marker in _styles(dict.fromkeys(result.block for result in results)):
        runs = np.array([result.history for result in results if result.block == name])
        epochs = np.arange(1, runs.shape[1] + 1)
        axes.plot(epochs, runs.mean(0), color=colour, marker=marker, markersize=4, label=title(name))
        axes.fill_between(epochs, runs.min(0), runs.max(0), color=colour, alpha=0.2, linewidth=0)
    axes.set(xlabel="epoch", ylabel="validation mIoU", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path)


def title(name: str) -> str:
    """Name of a variant as a reader sees it.

    Example:
        >>> title("none"), title("cbam")
        ('plain', 'CBAM')
    """
    return TITLES.get(name, name.upper())


def _styles(names: Mapping[str, object]) -> list[tuple[str, str, str]]:
    spare = iter(OTHER_LINES)
    return [(name, *(LINES.get(name) or next(spare))) for name in names]
