"""State dicts of other libraries as ours, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.blocks.base import BlockSpec
from gcnet.checkpoints.architecture import Architecture, Placed, Replaced
from gcnet.checkpoints.conversion import Conversion, what_happens
from gcnet.checkpoints.fitting import check_shapes, shapes_of
from gcnet.checkpoints.infer import UNKNOWN_POSITION, configured, resnet_host
from gcnet.checkpoints.infer_detector import mask_rcnn_host
from gcnet.checkpoints.options import Options
from gcnet.checkpoints.survey import Found, Survey, check_style, detect, layout_named, survey
from gcnet.checkpoints.write import Writing
from gcnet.layouts import NETWORK_LAYOUTS
from gcnet.layouts.table import to_ours as translate_block

COUNTER = "num_batches_tracked"


def to_ours(
    tensors: Mapping[str, Tensor],
    *,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Conversion:
    """Translate the state dict of a network or of a block alone into ours, and tell how such a network is built.

    Args:
        tensors: flat state dict.
        layout: name of its layout in ``gcnet.layouts.NETWORK_LAYOUTS``; by default the one that fits.
        options: what tensors do not tell: ``style`` (``"pytorch"``, or ``"caffe"`` for a stride in the first 1x1
            convolution of a stage), ``position`` of the blocks, and options of the blocks such as ``scale``.
        metadata: of the file; the configuration that mm-style files carry tells ``style`` and ``position``.

    Returns:
        The tensors, the architecture, and an account of every key.

    Raises:
        ValueError: no layout fits or several do; an option of no use; a shape that does not fit; a network that ours
            cannot express.

    Example:
        >>> import torch
        >>> from torchvision.models import resnet18
        >>> mm = {f"backbone.{key}": value for key, value in resnet18().state_dict().items() if "fc" not in key}
        >>> conversion = to_ours(mm)
        >>> conversion.source, conversion.complete, conversion.architecture.host.options["depths"]
        ('mm ResNet', True, (2, 2, 2, 2))
    """
    chosen = Options(options or {}, configured(metadata or {}))
    found = survey(tensors, layout_named(layout)) if layout else detect(tensors)
    caffe = f"{found.layout} caffe"
    if layout is None and chosen.told("style") == "caffe" and caffe in NETWORK_LAYOUTS:
        found = survey(tensors, NETWORK_LAYOUTS[caffe])
    found.layout.check(tensors)
    draft = _Draft(tensors, found, chosen)
    architecture = draft.architecture()
    chosen.check_used()
    back = {ours: theirs for theirs, ours in draft.mapped.items()}
    missing, surplus = _compare(draft.tensors, architecture, back)
    filled = tuple(key for key in missing if key.endswith(COUNTER))
    draft.tensors.update({key: torch.tensor(0) for key in filled})
    unused = tuple(back[key] for key in surplus)
    for theirs, key in zip(unused, surplus, strict=True):
        del draft.tensors[key], draft.mapped[theirs]
        draft.transformed.pop(key, None)
    return Conversion(
        draft.tensors,
        architecture,
        str(found.layout),
        "gcnet",
        draft.mapped,
        draft.transformed,
        (*found.unused, *unused),
        tuple(key for key in missing if key not in filled),
        filled,
        chosen.assumed,
    )


def as_they_are(tensors: Mapping[str, Tensor], architecture: Architecture) -> Conversion:
    """The account of a state dict of ours beside the architecture that came with it.

    Raises:
        ValueError: a shape that does not fit.

    Example:
        >>> from gcnet.models.classifiers import resnet
        >>> model = resnet((1, 1, 1, 1), num_classes=0)
        >>> tensors = model.state_dict()
        >>> del tensors["conv1.weight"]
        >>> as_they_are(tensors, Architecture.of(model)).missing
        ('conv1.weight',)
    """
    missing, surplus = _compare(tensors, architecture, {})
    kept = {key: value for key, value in tensors.items() if key not in surplus}
    same = {key: key for key in kept}
    return Conversion(kept, architecture, "gcnet", "gcnet", same, unused=tuple(surplus), missing=tuple(missing))


class _Draft:
    """Tensors under our names, and the blocks that were found, on the way to a conversion."""

    def __init__(self, source: Mapping[str, Tensor], found: Survey, options: Options) -> None:
        self.found, self.options = found, options
        self.tensors: dict[str, Tensor] = {}
        self.mapped: dict[str, str] = {}
        self.transformed: dict[str, str] = {}
        self.host: dict[str, Tensor] = {}
        for theirs, (ours, rename) in found.host.items():
            value = source[theirs]
            if rename.change is not None:
                value = rename.change.to_ours(value)
                self.transformed[ours] = rename.change.name
            self._put(theirs, ours, value)
            self.host[ours] = value
        self.blocks = [self._block(source, prefix, block) for prefix, block in found.blocks.items()]

    def architecture(self) -> Architecture:
        layout = self.found.layout
        doubtful = dict(layout.assumed)
        host = None
        if not layout.in_place:
            style = self.options.take("style", doubtful.get("style", "pytorch"), doubtful="style" in doubtful)
            if "dilations" in doubtful and self.options.take("dilations", doubtful["dilations"]) != "1":
                raise ValueError(
                    f"the configuration in the file has dilations=({self.options.told('dilations')}), as networks for "
                    "segmentation do; there are none in ours. The weights fit: --option dilations=1 takes them without"
                )
            if "time_stride" in doubtful:
                self.options.take("time_stride", doubtful["time_stride"])
            if "conventions" in doubtful:
                check_style(style, layout)
                conventions = self.options.take("conventions", doubtful["conventions"])
                host = mask_rcnn_host(self.host, style, conventions)
            else:
                host = resnet_host(self.host, style)
        placed = tuple(block for block in self.blocks if isinstance(block, Placed))
        replaced = tuple(block for block in self.blocks if isinstance(block, Replaced))
        return Architecture(host, placed, replaced)

    def _put(self, theirs: str, ours: str, value: Tensor) -> None:
        if ours in self.tensors:
            raise ValueError(f"two keys of the file become {ours!r}, one of them is {theirs!r}")
        self.tensors[ours] = value
        self.mapped[theirs] = ours

    def _block(self, source: Mapping[str, Tensor], prefix: str, found: Found) -> Placed | Replaced:
        own = {key[len(prefix) :]: value for key, value in source.items() if key.startswith(prefix)}
        try:
            reading = found.layout.read(own, self.options.of_block(found.layout.block))
            known = {key.theirs: key for key in reading.keys}
            translated = translate_block(reading.keys, {name: value for name, value in own.items() if name in known})
        except ValueError as error:
            raise ValueError(f"{prefix.removesuffix('.') or 'the block'} ({found.layout}): {error}") from error
        for name, value in own.items():
            if name in known:
                key = known[name]
                self._put(prefix + name, found.ours + key.ours, translated[key.ours])
                what = what_happens(key, "dropped")
                if what:
                    self.transformed[found.ours + key.ours] = what
            else:  # surplus; no network of ours has it
                self._put(prefix + name, found.ours + name, value)
        for name, value in reading.assumed.items():
            self.options.assume(f"{name} ({found.layout})", value)
        start = {"init": "published"} if found.layout.block.can_be_identity else {}
        spec = BlockSpec(found.layout.block, {**start, **reading.options})
        if found.name is None or found.child is None:
            return Replaced(found.path, reading.channels, spec, reading.dims)
        return Placed(
            found.path, found.name, self._position(found, reading.channels), reading.channels, self._dims(), spec
        )

    def _position(self, found: Found, channels: int) -> str:
        """Inside the bottleneck if the width says so, else as given or assumed."""
        assert found.child is not None
        if self.options.told("position") == UNKNOWN_POSITION:
            raise ValueError(
                f"the configuration in the file has blocks {UNKNOWN_POSITION}, where ours are not inserted; if "
                f"{found.path}.{found.name} is elsewhere, --option position=... says so"
            )
        inner, outer = (self.host.get(f"{found.path}.{name}.weight") for name in ("conv2", "conv3"))
        if inner is not None and outer is not None and channels == inner.shape[0] != outer.shape[0]:
            self.options.take("position", "after_3x3", doubtful=False)
            return "after_3x3"
        return self.options.take("position", found.child.position, doubtful=found.child.movable)

    def _dims(self) -> int:
        return next((value.dim() - 2 for value in self.host.values() if value.dim() > 2), 2)


def _compare(
    tensors: Mapping[str, Tensor], architecture: Architecture, theirs: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Keys that the network has and ``tensors`` have not, and the other way round.

    Raises:
        ValueError: a shape that does not fit, by the name that the key has in ``theirs``.
    """
    if architecture.host is None:
        expected = architecture.block_shapes()
        known = {key for key in tensors if not key.startswith(architecture.block_prefixes())} | expected.keys()
    else:
        network = architecture.host.build("meta")
        check_shapes(shapes_of(network), tensors, theirs)  # of the host first, which its blocks go by
        architecture.insert_into(network)
        expected = shapes_of(network)
        known = set(expected)
    check_shapes(expected, tensors, theirs)
    return [key for key in expected if key not in tensors], [key for key in tensors if key not in known]


def to_theirs(
    model: nn.Module | Mapping[str, Tensor],
    architecture: Architecture | None = None,
    *,
    layout: str,
) -> Conversion:
    """Translate a model, or its state dict with its architecture, into the layout of another library.

    Args:
        model: a model with our blocks, or the state dict of one.
        architecture: needed with a state dict.
        layout: name of the layout in ``gcnet.layouts.NETWORK_LAYOUTS``.

    Raises:
        ValueError: something that the layout cannot express, such as a centred gate or another position.

    Example:
        >>> import gcnet
        >>> from gcnet.models.classifiers import resnet
        >>> model = resnet((1, 1, 1, 1), num_classes=0)
        >>> spec = gcnet.GlobalContext.spec(ratio=1/16, init="published")
        >>> _ = gcnet.insert(model, spec, stages="c5", position="after_1x1")
        >>> conversion = to_theirs(model, layout="mm ResNet")
        >>> [key for key in conversion.tensors if "conv_mask" in key]
        ['backbone.layer4.0.context_block.conv_mask.weight', 'backbone.layer4.0.context_block.conv_mask.bias']
    """
    if isinstance(model, nn.Module):
        return Writing(model.state_dict(), architecture or Architecture.of(model), layout_named(layout)).conversion()
    if architecture is None:
        raise ValueError("to_theirs() needs the architecture beside a state dict; Architecture.of(model) gives it")
    return Writing(model, architecture, layout_named(layout)).conversion()
