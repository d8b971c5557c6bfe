"""Saving a model with what it takes to rebuild it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gcnet.blocks.base import Block
from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.document import Document
from gcnet.checkpoints.writer import write
from gcnet.insertion.state import unwrapped
from gcnet.models.hosts import Host
from gcnet.models.sameness import block_paths, first_difference

_log = logging.getLogger(__name__)


def save(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    added_only: bool = False,
    host: str | Mapping[str, Any] | Host | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a model to one file, from which :func:`gcnet.load` rebuilds host, blocks and weights.

    The file is safetensors. Its metadata say how the host is built, which blocks are where with which options, and the
    versions of gcnet and torch. Kept are weights, buffers, dtypes, ties between parameters, and which blocks are
    disabled. Not kept are training mode, ``requires_grad``, hooks and devices. A SyncBatchNorm comes back as the
    BatchNorm it was.

    The host is recognised if torchvision, timm or :mod:`gcnet.models` build one alike: the same layers with the same
    options. For any other, which is logged as a warning, give ``host=``, save ``added_only=True``, or load with
    ``gcnet.load(path, model=...)``.

    Args:
        model: with or without blocks, attached or swapped; or a block alone. DDP and torch.compile are taken off.
        path: ends in ``.safetensors`` (or ``.pth``); the folder exists.
        added_only: only the weights of the blocks, to lay over a pretrained host.
        host: how the model without its blocks is built, where that cannot be seen: ``"timm:NAME"``,
            ``"torchvision:NAME"`` or ``{"name": ..., "options": {...}}``, see :class:`gcnet.models.hosts.Host`.
        overwrite: replace an existing file, which stays until the new one is whole.

    Returns:
        The path.

    Raises:
        ValueError: a host that builds another network; no blocks for ``added_only``; a block that was changed after
            it was built; weights on the meta device, sharded, or no tensors; a file that exists or cannot be written.

    Example:
        >>> import torch, gcnet
        >>> from torchvision.models import resnet18
        >>> model = resnet18(num_classes=3).eval()
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/16), stages="c5")
        >>> path = gcnet.save(model, getfixture("tmp_path") / "model.safetensors")
        >>> x = torch.randn(1, 3, 64, 64)
        >>> torch.equal(gcnet.load(path)(x), model(x))
        True
    """
    model = unwrapped(model)
    _check_whole(model)
    architecture = Architecture.of(model, None if host is None else _host(model, host))
    if added_only and not architecture.blocks:
        raise ValueError(f"added_only=True, but this {type(model).__name__} has no blocks; gcnet.insert some first")
    state = model.state_dict(keep_vars=True)
    if added_only:
        state = {key: value for key, value in state.items() if key.startswith(architecture.block_prefixes())}
    names: dict[int, list[str]] = {}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{key!r} of the state dict is a {type(value).__name__}; only tensors can be saved")
        if value.is_meta:
            raise ValueError(f"{key!r} is on the meta device and has no values to save")
        names.setdefault(id(value), []).append(key)
    tied = tuple(tuple(group) for group in names.values() if len(group) > 1)
    if not (added_only or architecture.host or isinstance(model, Block)):
        _log.warning(
            "it is not known how this %s is built: load the file with gcnet.load(path, model=...), or save with host=",
            type(model).__name__,
        )
    document = Document(architecture, "added" if added_only else "model", tied)
    tensors = {group[0]: state[group[0]] for group in names.values()}
    return write(path, tensors, document.to_metadata(), overwrite=overwrite)


def _host(model: nn.Module, given: str | Mapping[str, Any] | Host) -> Host:
    if isinstance(given, str):
        given = Host(given, {})
    elif isinstance(given, Mapping):
        given = Host.from_dict({"options": {}, **given})
    if not isinstance(given, Host):
        raise TypeError(f"host={given!r} must be a name such as 'timm:gcresnet50t', or a mapping of name and options")
    difference = first_difference(model, given.build("meta"), block_paths(model))
    if difference:
        raise ValueError(f"host={given.name!r} with {dict(given.options)} builds another network: {difference}")
    return given


def _check_whole(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if {"FSDPModule", "FullyShardedDataParallel"} & {kind.__name__ for kind in type(module).__mro__}:
            raise ValueError(
                f"{path or 'the model'!r} is sharded (FSDP): gather the weights with torch.distributed.checkpoint."
                "state_dict.get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)), load them "
                "into an unsharded copy of the model on one rank, and save that"
            )
