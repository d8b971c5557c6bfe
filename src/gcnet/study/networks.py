"""Networks by name, or out of a file, as subjects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.transforms import InterpolationMode, v2

import gcnet
from gcnet.recipes.kinetics import kinetics_slow_only
from gcnet.study.runs import build_host, open_run, run_of, subject_of
from gcnet.study.sight import by_detector, clip, cropped
from gcnet.study.subject import Sight, Subject
from gcnet.training.backbones import build_backbone, is_download, load_weights, read_weights
from gcnet.training.checkpointing import checkpoint_path, read_checkpoint
from gcnet.training.images import MEAN, STD
from gcnet.training.network import check_runs
from gcnet.training.run_folder import load_config

CLASSES = 1000  # of a network by name: those of ImageNet
SIDE = 224  # of the input, of a network that does not say
SHOWN = 7 / 8  # share of the shorter side of a picture that it shows, likewise


def open_name(name: str, *, weights: str | None = None, size: int | None = None) -> Subject:
    """A classifier of torchvision or timm, with pictures cut and normalised as it was published.

    Args:
        name: ``"resnet18"``, ``"torchvision:NAME"`` or ``"timm:NAME"``.
        weights: None for random ones, ``"pretrained"`` or ``"pretrained:TAG"`` to download them, or a file.
        size: side of the input; None for the published one.

    Raises:
        ValueError: no such network or weights; a size it does not take.
    """
    net = build_backbone(name, CLASSES, weights if is_download(weights) else None)
    if weights is not None and not is_download(weights):
        load_weights(net, read_weights(weights), source=weights)
    classes: tuple[str, ...] = ()
    if is_download(weights) and not hasattr(net, "pretrained_cfg"):
        classes = tuple(models.get_model_weights(name.rpartition(":")[2]).DEFAULT.meta["categories"])
    if size is not None:
        check_runs(net, (1, 3, size, size), f"size={size}")
    see = _published_sight(net, name, size)
    return Subject(name, _on_device(net), see, net, classes=classes, trained=weights is not None)


def open_file(name: str, *, size: int | None = None) -> Subject:
    """A network out of a file or address that :func:`gcnet.load` reads.

    Args:
        name: of the file. One within the folder of a run sees pictures as the run does.
        size: side of the input elsewhere, by default 224; a detector scales pictures itself.

    Raises:
        ValueError: a file that cannot be read, or of a part of a network.
    """
    path = Path(name)
    run = run_of(path)
    if run and path.absolute().parent == run.absolute() / "checkpoints" and path.suffix == ".ckpt":
        return open_run(run, path.stem)
    net: Any = _load_of_run(name, run) if run else gcnet.load(name)
    if run:
        classes = tuple(read_checkpoint(checkpoint_path(run, "best"))["classes"])
        return subject_of(name, _on_device(net), run, load_config(run), classes)
    if hasattr(net, "transform") and hasattr(net, "backbone"):
        return Subject(name, _on_device(net), by_detector(net), net.backbone)
    if any(isinstance(module, nn.Conv3d) for module in net.modules()):
        config = replace(kinetics_slow_only(Path(), block="none"), views="1x1", test_crop=size or SIDE)
        return Subject(name, _on_device(net), clip(config), net, kind="video")
    return Subject(name, _on_device(net), _cut(size or SIDE, SHOWN), net)


def _load_of_run(name: str, run: Path) -> nn.Module:
    """A file in the folder of a run, whose network may have no name that the file could give."""
    try:
        return gcnet.load(name)
    except ValueError:
        return gcnet.load(name, build_host(run))


def _on_device(net: nn.Module) -> nn.Module:
    return net.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _published_sight(net: Any, name: str, size: int | None) -> Sight:
    if hasattr(net, "pretrained_cfg"):
        from timm.data import resolve_model_data_config

        published = resolve_model_data_config(net)
        scaling = InterpolationMode(published["interpolation"])
        side = size or published["input_size"][-1]
        return _cut(side, published["crop_pct"], published["mean"], published["std"], scaling)
    try:
        published = models.get_model_weights(name.rpartition(":")[2]).DEFAULT.transforms()
    except ValueError:
        return _cut(size or SIDE, SHOWN)
    side = published.crop_size[0]
    return _cut(size or side, side / published.resize_size[0], published.mean, published.std, published.interpolation)


def _cut(
    side: int,
    share: float,
    mean: Any = MEAN,
    std: Any = STD,
    scaling: InterpolationMode = InterpolationMode.BILINEAR,
) -> Sight:
    """The centre of a picture, ``share`` of its shorter side, as a square of ``side`` pixels."""
    steps = [
        v2.Resize(max(side, round(side / share)), interpolation=scaling),
        v2.CenterCrop(side),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(mean), list(std)),
    ]
    return cropped(v2.Compose(steps), mean, std)
