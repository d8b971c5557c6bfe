"""Classifiers by name, and weights out of files of any kind."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torchvision import models

import gcnet.models
from gcnet.blocks.base import check_choice
from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.convert import COUNTER, to_ours
from gcnet.checkpoints.document import Document
from gcnet.checkpoints.reader import Contents, read
from gcnet.models.sameness import block_paths

GCNET = ["resnet50", "resnet101", "resnext101_32x4d", "resnet20_w16"]  # as torchvision builds them
RUN_PREFIX = "net."  # of the network in a checkpoint of a run


def is_download(weights: str | None) -> bool:
    """Whether ``weights`` asks for published weights: "pretrained" or "pretrained:NAME".

    Example:
        >>> is_download("pretrained"), is_download("pretrained:IMAGENET1K_V1"), is_download("pretrained.pth")
        (True, True, False)
    """
    return weights is not None and weights.partition(":")[0] == "pretrained"


def build_backbone(name: str, classes: int, weights: str | None = None) -> nn.Module:
    """A classifier of torchvision or timm for ``classes`` classes.

    Args:
        name: ``"torchvision:resnet18"``, ``"timm:resnet18"``, or ``"resnet18"``: torchvision's where it has one.
            ``"gcnet:resnext101_32x4d"`` is built like torchvision's ResNets, which have no such network.
        classes: outputs of the last layer.
        weights: None to start from scratch; ``"pretrained"`` to download the library's default, or a certain one:
            ``"pretrained:IMAGENET1K_V1"`` (torchvision), ``"pretrained:a1_in1k"`` (timm). The last layer stays new
            where its number of classes differs.

    Raises:
        ValueError: no model or weights of that name, with the nearest; weights that cannot be downloaded.

    Example:
        >>> build_backbone("resnet18", 5).fc.out_features
        5
    """
    library, model = _find(name)
    build = {"torchvision": from_torchvision, "timm": _from_timm, "gcnet": _from_gcnet}[library]
    return build(model, classes, weights)


def _from_timm(model: str, classes: int, weights: str | None) -> nn.Module:
    import timm

    if weights is not None and (tag := weights.partition(":")[2]):
        check_choice("weights", tag, [name.partition(".")[2] for name in timm.list_pretrained(f"{model}.*")])
        model = f"{model}.{tag}"
    try:
        return timm.create_model(model, num_classes=classes, pretrained=weights is not None)
    except (OSError, RuntimeError) as error:
        if weights is None:
            raise
        raise _not_downloaded(error) from error


def from_torchvision(model: str, classes: int, weights: str | None = None) -> nn.Module:
    """Any classifier of torchvision, of images or videos; arguments and errors as for :func:`build_backbone`."""
    start = {"init_weights": True} if model in ("googlenet", "inception_v3") else {}
    net: Any = models.get_model(model, weights=None, num_classes=classes, **start)
    if weights is not None:
        known, tag = models.get_model_weights(model), weights.partition(":")[2]
        if tag:
            check_choice("weights", tag, known.__members__)
        try:
            state = (known[tag] if tag else known.DEFAULT).get_state_dict(progress=True)
        except (OSError, RuntimeError) as error:
            raise _not_downloaded(error) from error
        fit_weights(net, state, source=model)
        if hasattr(net, "transform_input"):  # trained on images of another normalisation
            net.transform_input = True
    return net


def _from_gcnet(model: str, classes: int, weights: str | None) -> nn.Module:
    if weights is not None:
        raise ValueError(f"weights={weights!r}: there are none for gcnet:{model}; give the path or URL of a file")
    return getattr(gcnet.models, model)(classes)


def _not_downloaded(error: Exception) -> ValueError:
    reason = (str(error) or type(error).__name__).partition("\n")[0]
    return ValueError(f"weights='pretrained': cannot be downloaded ({reason}); give the path of a file instead")


def _find(name: str) -> tuple[str, str]:
    """Library and model name."""
    import timm

    library, _, model = name.rpartition(":")
    known = {"torchvision": models.list_models(module=models), "timm": timm.list_models(), "gcnet": GCNET}
    if library not in ("", *known):
        raise ValueError(f"backbone={name!r}: unknown library {library!r}; use 'torchvision:', 'timm:' or 'gcnet:'")
    for candidate in [library] if library else ["torchvision", "timm"]:
        if model in known[candidate] or (candidate == "timm" and model in timm.list_pretrained()):
            return candidate, model
    names = known[library] if library else [*known["torchvision"], *known["timm"]]
    near = list(dict.fromkeys(difflib.get_close_matches(model, names, n=4)))
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; see timm.list_models()"
    lacking = f"{library} has no" if library else "neither torchvision nor timm has"
    raise ValueError(f"backbone={name!r}: {lacking} such model{hint}")


def read_weights(source: str) -> Contents:
    """What a file of weights holds; nothing in it is executed.

    Args:
        source: path or URL of any format and container that ``gcnet.load`` reads.

    Raises:
        ValueError: a file that cannot be read.
    """
    try:
        return read(source)
    except ValueError as error:
        raise ValueError(f"weights={error}") from error


def load_weights(net: nn.Module, contents: Contents, *, source: str) -> tuple[str, ...]:
    """Load what a file holds into a network with or without blocks.

    Files of ``gcnet.save``, checkpoints of runs (their network), and foreign layouts whose network is ours under other
    names. Where there is another number of classes, or no blocks, or no last layer, those of ``net`` stay as they are.

    Args:
        net: changed in place.
        contents: from :func:`read_weights`.
        source: what the errors call it.

    Returns:
        Names that stayed as they were.

    Raises:
        ValueError: weights or blocks that do not fit.

    Example:
        >>> from gcnet.checkpoints.reader import read
        >>> contents = read({"state_dict": build_backbone("resnet18", 1000).state_dict()})
        >>> load_weights(build_backbone("resnet18", 5), contents, source="weights.pth")
        ('fc.weight', 'fc.bias')
    """
    tensors, architecture = _ours(contents, net)
    _check_blocks(net, architecture, source)
    return fit_weights(net, tensors, source=source)


def _ours(contents: Contents, net: nn.Module) -> tuple[Mapping[str, Tensor], Architecture]:
    """Tensors by our names, and what the file says or tells about blocks."""
    document = Document.from_metadata(contents.metadata)
    if document is not None:
        return document.untied(contents.tensors), document.architecture
    own = net.state_dict()
    of_run = {key: value for key, value in contents.tensors.items() if key.startswith(RUN_PREFIX)}
    inside = {key.removeprefix(RUN_PREFIX): value for key, value in of_run.items()}
    if inside.keys() & own.keys():
        return inside, Architecture(None)
    if sum(key in own for key in contents.tensors) > len(contents.tensors) / 2:
        return contents.tensors, Architecture(None)
    try:
        conversion = to_ours(contents.tensors, metadata=contents.metadata)
    except ValueError:
        return contents.tensors, Architecture(None)  # whose names say best what does not fit
    return conversion.tensors, conversion.architecture


def _check_blocks(net: nn.Module, architecture: Architecture, source: str) -> None:
    """Raise ValueError unless every block of the file is in the network."""
    present = block_paths(net)
    for block in architecture.blocks:
        if block.block_path not in present:
            raise ValueError(
                f"weights={source}: has {len(architecture.blocks)} blocks, such as {block.spec!r} at "
                f"{block.block_path!r}, where this network has none; choose block, stages and position alike"
            )
    try:
        architecture.insert_into(net)
    except ValueError as error:
        raise ValueError(f"weights={source}: {error}; choose block, ratio and init alike") from error


def fit_weights(net: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> tuple[str, ...]:
    """Load a state dict that may lack blocks and the last layer, or have another number of classes.

    Returns:
        Names that stayed as they were.

    Raises:
        ValueError: names or shapes that do not fit otherwise.
    """
    own = net.state_dict()
    blocks = tuple(f"{path}." for path in block_paths(net))
    *_, last = (name for name, _ in net.named_parameters() if not name.startswith(blocks))
    free = (f"{last.rpartition('.')[0]}.", *(() if any(key.startswith(blocks) for key in weights) else blocks))
    classes = own[last].shape[:1]

    def problem(key: str) -> str | None:
        mine, theirs = own[key].shape, getattr(weights.get(key), "shape", None)
        if theirs is None:
            return None if key.startswith(free) else "is missing"
        if mine == theirs or (mine[:1] == classes and mine[1:] == theirs[1:]):  # some networks have several such layers
            return None
        return f"is {list(theirs)} there and {list(mine)} here"

    problems = {key: "is not part of the model" for key in weights if key not in own}
    problems |= {key: said for key in own if not key.endswith(COUNTER) and (said := problem(key))}
    if problems:
        key, said = next(iter(problems.items()))
        raise ValueError(f"weights={source}: {len(problems)} names do not fit {type(net).__name__}; {key} {said}")
    fitting = {key: value for key, value in weights.items() if value.shape == own[key].shape}
    net.load_state_dict(fitting, strict=False)
    return tuple(key for key in own if key not in fitting and not key.endswith(COUNTER))
