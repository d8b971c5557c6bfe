"""Two networks on one input: how far apart they are, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gcnet.insertion.state import evaluating

#: What a stage of a ResNet is called -> the module whose output it is.
_RESNET = {
    "stem": "maxpool",
    "c2": "layer1",
    "c3": "layer2",
    "c4": "layer3",
    "c5": "layer4",
    "pooled": "avgpool",
    "fc": "fc",
}


@dataclass(frozen=True)
class Stage:
    """Largest difference of one output: absolute, and as a share of its largest value in the first network."""

    name: str
    shape: tuple[int, ...]
    absolute: float
    relative: float


@dataclass(frozen=True)
class Comparison:
    """Stages in the order in which they are computed; the output of the network is the last."""

    stages: tuple[Stage, ...]

    @property
    def absolute(self) -> float:
        """The largest absolute difference of all stages; NaN if one is."""
        return max((stage.absolute for stage in self.stages), key=lambda value: (value != value, value))

    def within(self, tolerance: float) -> bool:
        """Whether no stage differs by more, absolutely."""
        return all(stage.absolute <= tolerance for stage in self.stages)


@torch.no_grad()
def compare(model_a: nn.Module, model_b: nn.Module, input: Tensor) -> Comparison:
    """Run two networks on one input, in eval mode, and compare what every stage gives.

    Stages are the stem, c2 to c5, pooled and fc of a ResNet; of a detector those of its backbone, the levels of the
    pyramid, the proposals' logits and offsets, and the box and mask heads on the same fixed regions; of any other
    network the children that both have. The modes of the networks are restored.

    Args:
        model_a: the first network, whose values relative differences are shares of.
        model_b: the second one.
        input: [N, C, *spatial], in the dtype and on the device of both.

    Raises:
        ValueError: the networks have different stages, or a stage different shapes.

    Example:
        >>> import copy, torch, gcnet
        >>> from gcnet.checkpoints.verify import compare
        >>> block = gcnet.GlobalContext(32)
        >>> compare(block, copy.deepcopy(block), torch.randn(2, 32, 7, 7)).within(0)
        True
    """
    if _is_detector(model_a) != _is_detector(model_b):
        raise ValueError(
            f"one network is a detector, the other is not: {type(model_a).__name__} and {type(model_b).__name__}"
        )
    common = [name for name, _ in model_a.named_children() if name in dict(model_b.named_children())]
    found = [_stages(model, input, common) for model in (model_a, model_b)]
    if list(found[0]) != list(found[1]):
        only = sorted(found[0].keys() ^ found[1].keys())
        raise ValueError(f"the networks have different stages: only one has {', '.join(only) or 'this order'}")
    return Comparison(tuple(_compared(name, value, found[1][name]) for name, value in found[0].items()))


def _stages(model: nn.Module, x: Tensor, children: list[str]) -> dict[str, Tensor]:
    with evaluating(model):
        if _is_detector(model):
            return _detector(model, x)
        points = _RESNET if _is_resnet(model) else {name: name for name in children}
        with _recorded(model, points) as found:
            output = model(x)
        return found | _named("output", output)


def _detector(model: Any, x: Tensor) -> dict[str, Tensor]:
    body = getattr(model.backbone, "body", model.backbone)
    points = {name: path for name, path in _RESNET.items() if path in dict(body.named_children())}
    with _recorded(body, points or {name: name for name, _ in body.named_children()}) as found:
        features = model.backbone(x)
    features = features if isinstance(features, dict) else {"0": features}
    found |= {f"level {name}": value for name, value in features.items()}
    logits, offsets = model.rpn.head(list(features.values()))
    found |= _named("proposal logits", logits) | _named("proposal offsets", offsets)
    heads, height, width = model.roi_heads, *x.shape[-2:]
    regions = [_regions(height, width).to(x) for _ in x]
    pooled = heads.box_roi_pool(features, regions, [(height, width)] * len(x))
    hidden = heads.box_head(pooled)
    scores, boxes = heads.box_predictor(hidden)
    found |= {"box features": hidden, "box scores": scores, "box offsets": boxes}
    if heads.has_mask():
        pooled = heads.mask_roi_pool(features, regions, [(height, width)] * len(x))
        found["masks"] = heads.mask_predictor(heads.mask_head(pooled))
    return found


def _regions(height: int, width: int) -> Tensor:
    """Corners of five regions of different sizes and shapes, one of them off the grid."""
    shares = torch.tensor(
        [[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.25, 0.1, 0.6, 0.95], [0.71, 0.33, 0.83, 0.41], [0.5, 0, 1, 0.2]]
    )
    return shares * torch.tensor([width, height, width, height])


def _is_detector(model: nn.Module) -> bool:
    return all(hasattr(model, name) for name in ("backbone", "rpn", "roi_heads"))


def _is_resnet(model: nn.Module) -> bool:
    return set(_RESNET.values()) <= {name for name, _ in model.named_children()}


@contextmanager
def _recorded(model: nn.Module, points: dict[str, str]) -> Iterator[dict[str, Tensor]]:
    """Outputs of these modules by the names of the points, filled by a call inside."""
    found: dict[str, Tensor] = {}

    def record(name: str) -> Any:
        # a later module may change its input in place
        return lambda module, inputs, output: found.update(
            {key: value.clone() for key, value in _named(name, output).items()}
        )

    handles = [model.get_submodule(path).register_forward_hook(record(name)) for name, path in points.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _named(name: str, output: object) -> dict[str, Tensor]:
    """The tensors of an output, numbered if there are several."""
    tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
    return {name if len(tensors) == 1 else f"{name} {number}": tensor for number, tensor in enumerate(tensors)}


def _compared(name: str, a: Tensor, b: Tensor) -> Stage:
    if a.shape != b.shape:
        raise ValueError(f"stage {name!r}: shapes {tuple(a.shape)} and {tuple(b.shape)} differ")
    absolute = float((a - b).abs().max()) if a.numel() else 0.0
    largest = float(a.abs().max()) if a.numel() else 0.0
    return Stage(name, tuple(a.shape), absolute, absolute / largest if largest else absolute)
