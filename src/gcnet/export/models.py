"""What ``gcnet export`` is given: a checkpoint or the name of a network."""

from __future__ import annotations

import torch
from torch import nn

import gcnet
from gcnet import Block
from gcnet.analysis.backbones import backbone
from gcnet.insertion.options import insert_named


def open_model(
    name: str, *, block: str = "", ratio: str = "", stages: str = "", match: str = "", position: str = ""
) -> tuple[nn.Module, tuple[int, ...]]:
    """A network without its detection heads, and the usual size of one input.

    Whatever has a dot or slash in it, and no ``timm:``, is a file or address, and keeps its weights. A name gives an
    untrained network with blocks, whose parameters are moved away from the identity: at their start the blocks would
    be hidden from the comparison with eager.

    Args:
        name: what :func:`gcnet.load` reads, or a name of :func:`gcnet.analysis.backbones.backbone`.
        block: of a named network, as for :func:`gcnet.insertion.options.insert_named`; ``"gc"`` if empty.
        ratio, stages, match, position: the same.

    Raises:
        ValueError: no such file or name; options of a named network beside a file.

    Example:
        >>> from gcnet.export.models import open_model
        >>> model, size = open_model("mask_rcnn:resnet18", stages="c4")
        >>> type(model).__name__, size
        ('BackboneWithFPN', (3, 800, 1280))
    """
    if not name.startswith("timm:") and not {".", "/"}.isdisjoint(name):
        if block or ratio or stages or match or position:
            raise ValueError(f"{name!r} is a file: block, ratio, stages, match and position are for names of networks")
        model = gcnet.load(name)
        size = _usual_size(model)
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, size = backbone(name)
            insert_named(model, block or "gc", ratio=ratio, stages=stages, match=match, position=position)
            for parameter in gcnet.added_parameters(model):
                parameter.data += 0.1 * torch.randn_like(parameter)
    is_detector = hasattr(model, "transform") and hasattr(model, "backbone")
    return (model.backbone if is_detector else model), size


def _usual_size(model: nn.Module) -> tuple[int, ...]:
    """Channels, height and width that a block or a ResNet is usually given, and frames if it is 3D."""
    if isinstance(model, Block):
        return (model.channels, *(14,) * getattr(model, "dims", 2))
    is_video = any(isinstance(module, nn.Conv3d) for module in model.modules())
    return (3, 8, 224, 224) if is_video else (3, 224, 224)
