"""The statistics of query dependence that the GCNet paper (arXiv:1904.11492) reports, and what networks they are of.

Quoted from memory, marked [M]: nobody here has read them off the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn


class PaperStatistics(NamedTuple):
    """Averages over the validation set: cosine distances, and the divergence of the softmax functions."""

    input: float
    output: float
    attention: float
    divergence: float | None


#: Set-up -> what it is.
SETUPS = {
    "coco": "Mask R-CNN R50-FPN with an NL block before the last block of c4, COCO",
    "kinetics": "slow-only R50 with 5 NL blocks (of which of them is not known), Kinetics",
}

#: Set-up -> pairwise function -> statistics.
PAPER = {
    "coco": {
        "gaussian": PaperStatistics(0.397, 0.062, 0.177, 0.065),
        "embedded_gaussian": PaperStatistics(0.402, 0.012, 0.020, 0.011),
        "dot_product": PaperStatistics(0.405, 0.020, 0.015, None),
        "concatenation": PaperStatistics(0.393, 0.003, 0.004, None),
    },
    "kinetics": {
        "gaussian": PaperStatistics(0.345, 0.056, 0.056, 0.021),
        "embedded_gaussian": PaperStatistics(0.358, 0.003, 0.004, 0.015),
        "dot_product": PaperStatistics(0.353, 0.095, 0.099, None),
        "concatenation": PaperStatistics(0.354, 0.048, 0.049, None),
    },
}

_PLACES = {
    ("layer3.4",): "coco",
    ("layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"): "kinetics",
}


def matching_setup(model: nn.Module, paths: Sequence[str]) -> str | None:
    """The set-up of the paper that a network has, by its layers and the places of its NL blocks; None if neither.

    On what data it was trained and is measured cannot be seen from here.

    Args:
        model: the network.
        paths: of its NL blocks.

    Example:
        >>> import gcnet
        >>> from gcnet.models import mask_rcnn, resnet50
        >>> model = mask_rcnn(resnet50(device="meta"))
        >>> _ = gcnet.insert(model, gcnet.NonLocal.spec(), match="backbone.body.layer3.4", position="after_block")
        >>> matching_setup(model, ["backbone.body.layer3.4.context_block"])
        'coco'
    """
    trunks = {path.rpartition("layer")[0] for path in paths}
    if len(trunks) != 1:
        return None
    trunk_path = trunks.pop()
    places = tuple(path.removeprefix(trunk_path).removesuffix(".context_block") for path in paths)
    setup = _PLACES.get(places)
    trunk: Any = model.get_submodule(trunk_path.rstrip("."))
    if setup is None or _depths(trunk) != (3, 4, 6, 3):
        return None
    kernels = [
        getattr(layer, "kernel_size", ()) for layer in (trunk.conv1, trunk.layer4[0].conv1, trunk.layer2[1].conv1)
    ]
    if setup == "kinetics":
        return setup if kernels == [(1, 7, 7), (3, 1, 1), (1, 1, 1)] else None
    detects = hasattr(model, "rpn") and getattr(getattr(model, "roi_heads", None), "mask_head", None) is not None
    return setup if detects and kernels == [(7, 7), (1, 1), (1, 1)] else None


def _depths(trunk: Any) -> tuple[int, ...] | None:
    """Residual blocks of each stage of a ResNet of bottlenecks."""
    stages = [getattr(trunk, f"layer{number}", None) for number in range(1, 5)]
    if not all(isinstance(stage, nn.Sequential) and len(stage) and hasattr(stage[0], "conv3") for stage in stages):
        return None
    return tuple(len(stage) for stage in stages if stage is not None)
