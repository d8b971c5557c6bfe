"""Networks as a name with plain options, so that a file can say how its host is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from gcnet.blocks.plain import arguments, check_bounds, fields, hints_of
from gcnet.models.classifiers import resnet
from gcnet.models.description import candidates
from gcnet.models.detector_options import OPTIONS
from gcnet.models.detectors import faster_rcnn, mask_rcnn
from gcnet.models.factories import TIMM_OPTIONS, TORCHVISION_OPTIONS, timm_network, torchvision_network
from gcnet.models.inflate import inflate
from gcnet.models.sameness import block_paths, first_difference
from gcnet.models.segmenters import segmenter

_DETECTOR: Mapping[str, Any] = {
    "backbone": dict,
    "conventions": str,
    "channels": int,
    "anchor_scale": float,
    **{name: option.kind for name, option in OPTIONS.items()},
}

#: Family -> option -> type. The first option of the first five is required.
_HINTS: dict[str, Mapping[str, Any]] = {
    "resnet": hints_of(resnet, left_out=("device", "return")),
    "mask_rcnn": _DETECTOR,
    "faster_rcnn": _DETECTOR,
    "segmenter": {"backbone": dict, **hints_of(segmenter, left_out=("classifier", "return"))},
    "inflated": {"of": dict, "time_kernel": dict, "time_pool": dict},
    "torchvision": TORCHVISION_OPTIONS,
    "timm": TIMM_OPTIONS,
}
_OVER: dict[str, Callable[..., nn.Module]] = {
    "mask_rcnn": mask_rcnn,
    "faster_rcnn": faster_rcnn,
    "segmenter": segmenter,
}
_REQUIRED = {"resnet": "depths", **dict.fromkeys(_OVER, "backbone"), "inflated": "of"}


@dataclass(frozen=True)
class Host:
    """A network without weights: what to build, and the options to build it with.

    Attributes:
        name: ``"resnet"`` (:func:`gcnet.models.classifiers.resnet`), ``"mask_rcnn"``
            (:func:`gcnet.models.mask_rcnn` over the host that is its option ``backbone``), ``"faster_rcnn"`` and
            ``"segmenter"`` likewise, ``"inflated"`` (:func:`gcnet.models.inflate` of the host that is
            its option ``of``), ``"torchvision:NAME"`` or ``"timm:NAME"``.
        options: plain values; hosts within are given as ``{"name": ..., "options": {...}}``.

    Raises:
        ValueError: an unknown name or option, with the nearest; a value of another type or beyond all reason.

    Example:
        >>> host = Host("resnet", {"depths": (1, 1, 1, 1), "num_classes": 10})
        >>> sum(p.numel() for p in host.build("meta").parameters())
        8036426
        >>> Host.from_dict(host.to_dict()) == host
        True
    """

    name: str
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self._family not in _HINTS or (":" in self.name) == (self._family in _REQUIRED):
            raise _unknown_host(self.name)
        options = arguments(self.name, _HINTS[self._family], self.options)
        required = _REQUIRED.get(self._family)
        if required and required not in options:
            raise ValueError(f"host {self.name!r} needs the option {required!r}")
        if "backbone" in options:
            options["backbone"] = _inner(self.name, options["backbone"], ("resnet",))
        elif self.name == "inflated":
            options["of"] = _inner(self.name, options["of"], ("resnet", "torchvision", "timm"))
            for name in ("time_kernel", "time_pool"):
                _check_frames(name, options.setdefault(name, {}))
        object.__setattr__(self, "options", MappingProxyType(options))

    @property
    def _family(self) -> str:
        return self.name.partition(":")[0]

    def build(self, device: torch.device | str | None = None) -> nn.Module:
        """Build the network, with random weights, on ``device``; by default on the current default device.

        Raises:
            ValueError: options that do not go together.
        """
        options: dict[str, Any] = dict(self.options)
        try:
            if self.name == "resnet":
                return resnet(**options, device=device)
            if self.name in _OVER:
                return _OVER[self.name](Host.from_dict(options.pop("backbone")).build(device), **options)
            if self.name == "inflated":
                return inflate(Host.from_dict(options.pop("of")).build(device), **options)
            return self._by_name(torch.device(device or torch.get_default_device()), options)
        except TypeError as error:  # an option that this factory does not have
            raise ValueError(f"host {self.name!r} cannot be built with {options}: {error}") from error

    def _by_name(self, device: torch.device, options: dict[str, Any]) -> nn.Module:
        make = timm_network if self._family == "timm" else torchvision_network
        try:
            with device:
                return make(self.name.partition(":")[2], **options)
        except NotImplementedError:  # a factory that computes with tensors and needs their values
            if device.type != "meta":
                raise
            return self._by_name(torch.device("cpu"), options).to(device)

    def to_dict(self) -> dict[str, Any]:
        """Name and options as plain values, for JSON."""
        return {"name": self.name, "options": dict(self.options)}

    @classmethod
    def from_dict(cls, values: Any) -> Host:
        """The host that :meth:`to_dict` described.

        Raises:
            ValueError: as for the class itself.
        """
        return cls(*fields("host", values, name=str, options=dict))

    def __reduce__(self) -> tuple[Any, ...]:
        return Host, (self.name, dict(self.options))


def describe_host(model: nn.Module) -> Host | None:
    """The host that builds a network like ``model``, whose blocks are left aside; None if no known one does.

    What comes back was built on the meta device and compared: the same layers with the same options, names and shapes.

    Example:
        >>> from torchvision.models import resnet18
        >>> describe_host(resnet18(num_classes=7)).options["depths"]
        (2, 2, 2, 2)
    """
    for name, options in candidates(model):
        try:
            host = Host(name, options)
            built = host.build("meta")
        except (RuntimeError, ValueError):
            continue  # options read off a network of another make
        if first_difference(model, built, block_paths(model)) is None:
            return host
    return None


def _unknown_host(name: str) -> ValueError:
    """The error for a name that no host has."""
    families = [*_REQUIRED, "torchvision:NAME", "timm:NAME"]
    return ValueError(f"unknown host {name[:80]!r}; there are {', '.join(families)}")


def _inner(name: str, values: dict[str, Any], allowed: tuple[str, ...]) -> dict[str, Any]:
    family = str(values.get("name")).partition(":")[0]
    if family not in allowed:
        raise ValueError(f"host {name!r} is made of {' or '.join(allowed)}, not of {str(values.get('name'))[:80]!r}")
    return Host.from_dict(values).to_dict()


def _check_frames(option: str, frames_at: dict[Any, Any]) -> None:
    check_bounds(option, [*frames_at, *frames_at.values()])
    if not all(isinstance(path, str) and type(frames) is int for path, frames in frames_at.items()):
        raise ValueError(f"{option}={str(frames_at)[:80]} must map patterns of paths to numbers of frames")
