"""What ``gcnet export`` is given: a checkpoint or the name of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import gcnet
from gcnet.analysis.backbones import backbone
from gcnet.insertion.options import insert_named

_SUFFIXES = (".pth", ".pt", ".safetensors", ".tar", ".bin", ".ckpt")
_USUAL: tuple[int, ...] = (3, 224, 224)


def open_model(
    name: str, *, block: str = "gc", ratio: str = "", stages: str = "", match: str = "", position: str = ""
) -> tuple[nn.Module, tuple[int, ...]]:
    """A network without its detection heads, and the usual size of one input.

    A file keeps its weights. A name gives an untrained network with blocks, whose parameters are moved away from the
    identity: at their start the blocks would be hidden from the comparison with eager.

    Raises:
        ValueError: no such file or name.

    Example:
        >>> from gcnet.export.models import open_model
        >>> model, size = open_model("mask_rcnn:resnet18", stages="c4")
        >>> type(model).__name__, size
        ('BackboneWithFPN', (3, 800, 1280))
    """
    if Path(name).suffix in _SUFFIXES:
        if not Path(name).is_file():
            raise FileNotFoundError(f"model {name!r}: there is no such file")
        load: Any = gcnet.load
        model, size = load(name), _USUAL
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, size = backbone(name)
            insert_named(model, block, ratio=ratio, stages=stages, match=match, position=position)
            for parameter in gcnet.added_parameters(model):
                parameter.data += 0.1 * torch.randn_like(parameter)
    return (model.backbone if hasattr(model, "roi_heads") else model), size
