"""Networks of torchvision and timm by name, without weights."""

from __future__ import annotations

import difflib
import inspect
import re
from typing import Any

import torchvision
from torch import nn
from torchvision.models import get_model, get_model_builder, get_model_weights, list_models

from gcnet.models.detector_options import OPTIONS, SINGLE_STAGE

DETECTION = list_models(torchvision.models.detection)
SEGMENTATION = list_models(torchvision.models.segmentation)
VIDEO = list_models(torchvision.models.video)
TORCHVISION = [*list_models(torchvision.models), *DETECTION, *SEGMENTATION, *VIDEO]

#: Plain options of the factories; never weights, paths or names of hubs.
TORCHVISION_OPTIONS: dict[str, Any] = {
    **{name: option.kind for name, option in {**SINGLE_STAGE, **OPTIONS}.items()},
    "aux_logits": bool,
    "aux_loss": bool,
    "dropout": float,
    "image_size": int,
    "replace_stride_with_dilation": tuple[bool, ...],
    "stochastic_depth_prob": float,
    "transform_input": bool,
}
TIMM_OPTIONS: dict[str, Any] = {
    "num_classes": int,
    "drop_path_rate": float,
    "drop_rate": float,
    "global_pool": str,
    "img_size": int | tuple[int, ...],
    "in_chans": int,
    "output_stride": int,
}


def torchvision_network(name: str, **options: Any) -> nn.Module:
    """A classifier, detector, segmentation or video network of torchvision.

    Raises:
        ValueError: no such name, with the nearest ones.
    """
    if name not in TORCHVISION:
        raise unknown(name, TORCHVISION)
    options["weights"] = None
    if name in DETECTION + SEGMENTATION:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    return get_model(name, **options)


def timm_network(name: str, **options: Any) -> nn.Module:
    """A network of timm.

    Raises:
        ModuleNotFoundError: timm is not installed.
        ValueError: no such name, with the nearest ones.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('timm: names need timm: pip install "gcnet[models]"', name="timm") from error
    if not re.fullmatch(r"[\w.]+", name) or not timm.is_model(name):  # "hf-hub:..." would be fetched
        raise unknown(f"timm:{name}", [f"timm:{known}" for known in timm.list_models()])
    return timm.create_model(name, pretrained=False, **options)


def unknown(name: str, known: list[str]) -> ValueError:
    """The error for a name that is not ``known``."""
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    return ValueError(f"unknown backbone {name!r}{hint} (torchvision names, timm:NAME, mask_rcnn:NAME)")


def torchvision_names(kind: type[nn.Module], parameters: int) -> list[str]:
    """Names of torchvision whose network is of the class ``kind``: the three whose size is nearest."""
    names = [name for name in TORCHVISION if inspect.signature(get_model_builder(name)).return_annotation is kind]
    return sorted(names, key=lambda name: abs(_parameters(name) - parameters))[:3]


def _parameters(name: str) -> int:
    """Parameters of a network with its published weights; 0 for one without any."""
    return max((weights.meta["num_params"] for weights in get_model_weights(name)), default=0)
