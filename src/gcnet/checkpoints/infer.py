"""Reading the architecture of a ResNet off the names and shapes of our tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from gcnet.layouts.network import fits
from gcnet.models.hosts import Host

STAGES = (1, 2, 3, 4)


def resnet_host(tensors: Mapping[str, Tensor], style: str = "pytorch") -> Host | None:
    """The ResNet, 2D or inflated, whose state dict this is; None if it is none.

    Args:
        tensors: state dict with torchvision's names, blocks left aside.
        style: ``"caffe"`` if the first 1x1 convolution of a stage takes its stride.

    Example:
        >>> from torchvision.models import resnext50_32x4d
        >>> host = resnet_host(resnext50_32x4d().state_dict())
        >>> host.options["groups"], host.options["width_per_group"], host.options["depths"]
        (32, 4, (3, 4, 6, 3))
    """
    depths = tuple(_depth(tensors, stage) for stage in STAGES)
    if min(depths) == 0 or "conv1.weight" not in tensors:
        return None
    bottleneck = "layer1.0.conv3.weight" in tensors
    groups, width = 1, 64
    if bottleneck:
        second = tensors["layer1.0.conv2.weight"]
        groups = second.shape[0] // second.shape[1]
        width = second.shape[0] // groups
    elif style == "caffe":
        raise ValueError("style='caffe' goes with bottlenecks; these residual blocks have no 1x1 convolution")
    options = {
        "depths": depths,
        "block": "bottleneck" if bottleneck else "basic",
        "num_classes": tensors["fc.weight"].shape[0] if "fc.weight" in tensors else 0,
        "groups": groups,
        "width_per_group": width,
        "stride_in_1x1": style == "caffe",
    }
    flat = Host("resnet", options)
    if tensors["conv1.weight"].dim() == 4:
        return flat
    return Host("inflated", {"of": flat.to_dict(), "time_kernel": _time_kernels(tensors)})


def _time_kernels(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Path of every convolution that sees several frames -> their number."""
    return {
        key.removesuffix(".weight"): value.shape[2]
        for key, value in tensors.items()
        if value.dim() == 5 and value.shape[2] != 1
    }


def _depth(tensors: Mapping[str, Tensor], stage: int) -> int:
    """Number of residual blocks of a stage."""
    blocks = {
        int(fields["block"]) for key in tensors if (fields := fits(f"layer{stage}.{{block}}.{{rest}}", key)) is not None
    }
    return max(blocks, default=-1) + 1


_CONFIG = {
    "style": re.compile(r"""\bstyle\s*=\s*['"](caffe|pytorch)['"]"""),
    "position": re.compile(r"""\b(?:position|insert_pos)\s*=\s*['"](after_(?:conv[123]|1x1|3x3|add))['"]"""),
    "dilations": re.compile(r"\bdilations\s*=\s*[([]([1248,\s]+)[)\]]"),  # of backbones; those of heads go further
}
_POSITIONS = {"after_conv2": "after_3x3", "after_conv3": "after_1x1"}
#: Where mmdetection can put a block and ours cannot.
UNKNOWN_POSITION = "after_conv1"


def configured(metadata: Mapping[str, object]) -> dict[str, str]:
    """``style``, ``position`` and ``dilations`` in the configuration that mm-style files carry; its text is never run.

    Example:
        >>> configured({"meta": {"config": "backbone=dict(style='caffe', dilations=(1, 1, 2, 4))"}})
        {'style': 'caffe', 'dilations': '1, 1, 2, 4'}
    """
    nested = metadata.get("meta")
    places = (metadata, nested if isinstance(nested, Mapping) else {})
    texts = [text for place in places for name in ("config", "cfg") if isinstance(text := place.get(name), str)]
    values = {option: {v for text in texts for v in pattern.findall(text)} for option, pattern in _CONFIG.items()}
    values["position"] = {_POSITIONS.get(value, value) for value in values["position"]}
    if UNKNOWN_POSITION in values["position"]:
        values["position"] = {UNKNOWN_POSITION}
    dilated = {value for value in values["dilations"] if set(value) & set("248")}
    values["dilations"] = dilated or {"1" for _ in values["dilations"]}
    return {option: found.pop() for option, found in values.items() if len(found) == 1}
