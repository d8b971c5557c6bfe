"""Loading a model from a file of ours or of another library."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.conversion import unmatched
from gcnet.checkpoints.convert import to_ours
from gcnet.checkpoints.document import Document
from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.fitting import check_fit, check_shapes, is_hollow, tie
from gcnet.checkpoints.reader import MAX_BYTES, Contents, read
from gcnet.insertion.state import unwrapped
from gcnet.models.hosts import Host
from gcnet.models.sameness import block_paths, first_difference

_log = logging.getLogger(__name__)


def load(
    source: str | os.PathLike[str] | Mapping[str, Any],
    model: nn.Module | None = None,
    *,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    allow_missing: Sequence[str] = (),
    allow_unused: Sequence[str] = (),
    allow_nan: bool = False,
    container: str | None = None,
    max_bytes: int = MAX_BYTES,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Load a model: from a file of :func:`gcnet.save`, or from a checkpoint of another library.

    Nothing in a file is executed. A file of ours says how its model is built. Of any other, the layout is detected,
    and a ResNet or Mask R-CNN with or without blocks, or a block alone, is built to its tensors; what was assumed goes
    to the log, and ``gcnet convert`` prints it.

    Args:
        source: path, http(s) URL, or state dict.
        model: the host, or the whole model: blocks are inserted as the file says unless they are there, and the
            weights loaded into it, in its dtype and on its device. Needed where the file does not say how the host is
            built, and for files with ``added_only=True``. If it is built unlike the host of the file, the first
            difference goes to the log as a warning.
        layout: name of the foreign layout; by default the one that fits, see :mod:`gcnet.layouts`.
        options: what foreign tensors do not tell, such as ``{"style": "caffe"}``.
        allow_missing: patterns such as ``"fc.*"`` of keys that the file may lack; they keep their start.
        allow_unused: patterns of keys of the file that may go unused.
        allow_nan: load weights that are NaN or infinite.
        container: which weights to load of a file that holds several, such as ``"ema_state_dict"``. Default: plain
            weights before averages.
        max_bytes: largest file. Default: 4 GiB.
        device: where a new model is put.

    Returns:
        ``model``, in the mode it had; or a new one in evaluation mode, unlike torchvision's factories: call
        ``.train()`` to train it.

    Raises:
        ValueError: a file that cannot be read, or is damaged; a key that does not fit, with both shapes or the nearest
            key; a host that is not known. A ``model`` that was given stays as it was.

    Example:
        >>> import torch, gcnet
        >>> from torchvision.models import resnet18
        >>> model = resnet18()
        >>> _ = gcnet.insert(model, gcnet.SqueezeExcite.spec(ratio=1/4), stages="c5")
        >>> path = gcnet.save(model, getfixture("tmp_path") / "added.safetensors", added_only=True)
        >>> pretrained = resnet18()
        >>> len(gcnet.status(gcnet.load(path, pretrained)))
        2
    """
    contents = read(source, container=container, allow_nan=allow_nan, max_bytes=max_bytes)
    document = Document.from_metadata(contents.metadata)
    if document is None:
        return _foreign(contents, model, layout, options, allow_missing, allow_unused, device)
    if layout is not None or options is not None:
        raise ValueError("a file of gcnet.save says itself how its model is built: leave out layout= and options=")
    tensors = document.untied(contents.tensors)
    if model is not None:
        partial = document.contents == "added"
        _into(model, tensors, document.architecture, allow_missing, allow_unused, partial=partial)
        _warn_of_another_host(unwrapped(model), document.architecture.host)
        return model
    if document.contents == "added":
        raise CheckpointError("the file holds the added weights only: give the host they belong to as model=")
    model = _build(tensors, document.architecture, allow_missing, allow_unused, device)
    for group in document.tied:
        if tensors.keys() >= set(group):
            tie(model, group)
    return model


def _warn_of_another_host(model: nn.Module, host: Host | None) -> None:
    """Log what sets the host in ``model`` apart from that of the file: weights fit more than they belong to."""
    try:
        built = host and host.build("meta")
    except (RuntimeError, ValueError, ModuleNotFoundError):
        return  # a host of a library that is not here
    difference = built and first_difference(model, built, block_paths(model))
    if difference:
        _log.warning("the model is built unlike the host of the file and may compute something else: %s", difference)


def _foreign(
    contents: Contents,
    model: nn.Module | None,
    layout: str | None,
    options: Mapping[str, Any] | None,
    allow_missing: Sequence[str],
    allow_unused: Sequence[str],
    device: torch.device | str,
) -> nn.Module:
    if model is not None and layout is None and options is None and _same_names(contents.tensors, unwrapped(model)):
        return _into(model, contents.tensors, Architecture(None), allow_missing, allow_unused)
    conversion = to_ours(contents.tensors, layout=layout, options=options, metadata=contents.metadata)
    _log.info("%s", conversion)
    left = unmatched("unused", conversion.unused, allow_unused)
    if left:
        raise CheckpointError(f"{len(left)} keys of the file are unused, such as {left[0]!r}\n{conversion}")
    if model is not None:
        return _into(model, conversion.tensors, conversion.architecture, allow_missing)
    return _build(conversion.tensors, conversion.architecture, allow_missing, (), device)


def _same_names(tensors: Mapping[str, Tensor], model: nn.Module) -> bool:
    return tensors.keys() == model.state_dict().keys()


def _build(
    tensors: Mapping[str, Tensor],
    architecture: Architecture,
    allow_missing: Sequence[str],
    allow_unused: Sequence[str],
    device: torch.device | str,
) -> nn.Module:
    """The model of ``architecture`` with ``tensors`` as its weights; its memory is theirs wherever possible."""
    with torch.random.fork_rng([]):
        model = architecture.build("meta")
        missing, unused = check_fit(model.state_dict(keep_vars=True), tensors, allow_missing, allow_unused)
        if missing or is_hollow(model):
            model = architecture.build(device)
    model.load_state_dict(
        {key: tensors[key].to(device) for key in tensors if key not in unused}, strict=False, assign=True
    )
    return model.eval()


def _into(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    architecture: Architecture,
    allow_missing: Sequence[str],
    allow_unused: Sequence[str] = (),
    *,
    partial: bool = False,
) -> nn.Module:
    """Insert what is missing of ``architecture`` into ``model`` and load ``tensors``, or leave it as it was."""
    inner = unwrapped(model)
    blocks = len(block_paths(inner))
    check_shapes(architecture.block_shapes(), tensors)  # first: a number in a file shall not claim memory
    with architecture.inserting(inner):
        if inner is not model and len(block_paths(inner)) > blocks:
            raise RuntimeError("the model is compiled or distributed already: load first, then DDP or compile")
        own = inner.state_dict(keep_vars=True)
        if any(isinstance(value, Tensor) and value.is_meta for value in own.values()):
            raise ValueError("the model is on the meta device and cannot hold weights: build it on a device")
        expected = {key: own[key] for key in own if key.startswith(architecture.block_prefixes())} if partial else own
        _, unused = check_fit(expected, tensors, allow_missing, allow_unused)
        inner.load_state_dict({key: tensors[key] for key in tensors if key not in unused}, strict=False)
    return model
