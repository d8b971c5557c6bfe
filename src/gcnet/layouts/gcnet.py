"""Our own blocks, read off the names and shapes of their tensors; a file of ``gcnet.save`` needs none of this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from gcnet.blocks.bam import BAM
from gcnet.blocks.base import Block, check_choice
from gcnet.blocks.cbam import CBAM
from gcnet.blocks.global_context import GlobalContext
from gcnet.blocks.non_local import NonLocal
from gcnet.blocks.scse import SCSE
from gcnet.blocks.selective_kernel import SelectiveKernel
from gcnet.blocks.simplified_non_local import SimplifiedNonLocal
from gcnet.blocks.squeeze_excite import SqueezeExcite
from gcnet.layouts.reading import built, checked, settle
from gcnet.layouts.scales import logit_scale
from gcnet.layouts.table import BlockLayout, Key, Reading

Options = Mapping[str, Any]
Read = Callable[[Mapping[str, Tensor]], tuple[int, dict[str, Any], dict[str, Any]]]
_FORMS = ("paper", "code")
_GATE = {"gate": "published"}


def _global_context(tensors: Mapping[str, Tensor]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    fusion = tuple(name for name in ("add", "scale") if f"{name}.expand.weight" in tensors)
    channels, hidden = tensors[f"{fusion[0]}.expand.weight"].shape
    attention = {"key.weight", "key.bias"} & tensors.keys()
    told = {"pooling": "attention" if attention else "average", "fusion": fusion}
    unsaid: dict[str, Any] = dict(_GATE) if "scale" in fusion else {}
    if f"{fusion[0]}.reduce.weight" not in tensors:
        return channels, {"ratio": None, **told}, unsaid
    unsaid["relu"] = True
    norm = f"{fusion[0]}.norm.weight" in tensors
    if norm:
        unsaid["norm_eps"] = 1e-5
    return channels, {"hidden": hidden, "norm": norm, **told}, unsaid


def _simplified_non_local(tensors: Mapping[str, Tensor]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    return tensors["value.weight"].shape[0], {}, {}


def _squeeze_excite(tensors: Mapping[str, Tensor]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    hidden, channels = tensors["scale.reduce.weight"].shape
    unsaid = {"activation": "relu", "gate_function": "sigmoid", **_GATE}
    return channels, {"hidden": hidden, "bias": "scale.reduce.bias" in tensors}, unsaid


def _non_local(tensors: Mapping[str, Tensor]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    channels, hidden = tensors["out.weight"].shape
    told: dict[str, Any] = {"hidden": hidden, "norm": "norm.weight" in tensors, "out_bias": "out.bias" in tensors}
    unsaid: dict[str, Any] = {"subsample": None, "subsample_size": 2}
    if "concat.weight" in tensors:
        told["pairwise"] = "concatenation"
    elif "query.weight" not in tensors:
        told["pairwise"] = "gaussian"
    else:
        unsaid |= {"pairwise": "embedded_gaussian", "scale": None}
    return channels, told, unsaid


def _gates(tensors: Mapping[str, Tensor]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """CBAM, BAM and SCSE."""
    hidden, channels = tensors["channel_gate.reduce.weight"].shape
    told: dict[str, Any] = {"hidden": hidden}
    unsaid: dict[str, Any] = dict(_GATE)
    if "spatial_gate.conv.weight" in tensors:
        told["kernel_size"] = tensors["spatial_gate.conv.weight"].shape[-1]
    if "spatial_gate.reduce.conv.weight" in tensors:
        unsaid["dilation"] = 4
    return channels, told, unsaid


def _selective_kernel(tensors: Mapping[str, Tensor]) -> tuple[int, dict[str, Any], dict[str, Any]]:
    hidden, channels = tensors["attention.reduce.weight"].shape
    branches = tensors["attention.expand.weight"].shape[0] // channels
    groups = channels // tensors[f"branches.{branches - 1}.conv.weight"].shape[1]
    return channels, {"hidden": hidden, "branches": branches, "groups": groups}, {}


def _layout(block: type[Block], told: Read, *anchors: tuple[str, ...], forms: bool = False) -> BlockLayout:
    name = f"gcnet {block.__name__}"

    def read(tensors: Mapping[str, Tensor], options: Options) -> Reading:
        channels, known, unsaid = told(tensors)
        if "scale" in options and block is NonLocal:
            options = {**options, "scale": logit_scale(options["scale"], channels, known["hidden"])}
        dims = max((value.dim() - 2 for value in tensors.values() if value.dim() > 2), default=2)
        if forms:
            known |= _form(tensors, channels, known, dims)
            unsaid |= {} if "form" in known else {"form": _FORMS[0]}
            check_choice("form", options.get("form", _FORMS[0]), _FORMS)
        chosen, assumed = settle(name, known, unsaid, options)
        reading = Reading(channels, chosen, (), assumed, dims)
        return checked(name, block, reading._replace(keys=_identity(built(block, reading).state_dict())), tensors)

    def _form(tensors: Mapping[str, Tensor], channels: int, known: Options, dims: int) -> dict[str, str]:
        """The form, where only one has these tensors."""
        fitting = []
        for form in _FORMS:
            reading = Reading(channels, {**known, "form": form}, (), dims=dims)
            try:
                state = built(block, reading).state_dict()
            except ValueError:
                continue
            if all(key in state and state[key].shape == value.shape for key, value in tensors.items()):
                fitting.append((len(state.keys() - tensors.keys()), form))
        fewest = [form for lacking, form in fitting if lacking == min(fitting)[0]]
        return {"form": fewest[0]} if len(fewest) == 1 else {}

    return BlockLayout(name, block, anchors, read, _write)


def _identity(names: Mapping[str, Any]) -> tuple[Key, ...]:
    return tuple(Key(name, name) for name in names)


def _write(block: Block, dims: int) -> tuple[Key, ...]:
    return _identity(block.state_dict())


_CHANNEL_GATE = ("channel_gate.reduce.weight", "channel_gate.expand.weight")
#: A block with several readings is the first: without a key, a multiplication without a norm is an SE block.
BLOCK_LAYOUTS = (
    _layout(
        GlobalContext,
        _global_context,
        ("add.expand.weight",),
        ("scale.expand.weight", "key.weight"),
        ("scale.expand.weight", "scale.norm.weight"),
    ),
    _layout(NonLocal, _non_local, ("value.weight", "out.weight")),
    _layout(SqueezeExcite, _squeeze_excite, ("scale.reduce.weight", "scale.expand.weight")),
    _layout(SimplifiedNonLocal, _simplified_non_local, ("value.weight", "key.weight")),
    _layout(CBAM, _gates, (*_CHANNEL_GATE, "spatial_gate.conv.weight"), forms=True),
    _layout(BAM, _gates, (*_CHANNEL_GATE, "spatial_gate.reduce.conv.weight"), forms=True),
    _layout(SCSE, _gates, (*_CHANNEL_GATE, "spatial_gate.weight"), forms=True),
    _layout(SelectiveKernel, _selective_kernel, ("attention.reduce.weight", "attention.expand.weight"), forms=True),
)
