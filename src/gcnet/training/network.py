"""The network of a configuration: host, weights, blocks, norms, frozen parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gcnet.blocks.base import BlockSpec
from gcnet.blocks.foreign import foreign_spec
from gcnet.blocks.names import block_spec
from gcnet.insertion import insert
from gcnet.insertion.options import parse_options
from gcnet.models.sameness import block_paths
from gcnet.training.backbones import build_backbone, is_download, load_weights, read_weights
from gcnet.training.config import TrainingConfig
from gcnet.training.distributed import is_first
from gcnet.training.freezing import freeze
from gcnet.training.norms import fix_norms, synchronise_norms


def classifier(config: TrainingConfig, classes: int) -> nn.Module:
    """A classifier with weights and blocks; the first process prints where blocks went and which names stayed new.

    Weights may be of the plain host, or of the host with the same blocks.

    Args:
        config: backbone, weights, block and where it goes, norm, frozen.
        classes: outputs of the last layer.

    Raises:
        ValueError, FileNotFoundError: naming the field or the file that is wrong.

    Example:
        >>> from pathlib import Path
        >>> from gcnet.recipes.classification import classification
        >>> net = classifier(classification(Path("photos")), classes=5)
        path ...
        inserted 6 blocks, ... parameters
        >>> net.fc.out_features
        5
    """
    net = build_backbone(config.backbone, classes, config.weights if is_download(config.weights) else None)
    insert_blocks(net, config)
    if config.weights is not None and not is_download(config.weights):
        load_file(net, config.weights)
    apply_norm_and_frozen(net, config)
    return net


def load_file(net: nn.Module, source: str) -> None:
    """Load a file as :func:`~gcnet.training.backbones.load_weights` does; the first process prints what stayed new.

    Raises:
        ValueError: a file that cannot be read; weights or blocks that do not fit.
    """
    names = load_weights(net, read_weights(source), source=source)
    blocks = [path for path in block_paths(net) if any(name.startswith(f"{path}.") for name in names)]
    new = [name for name in names if not name.startswith(tuple(f"{path}." for path in blocks))]
    if blocks:
        new.append(f"{len(blocks)} blocks")
    if new and is_first():
        print(f"not in {source}, stays new: {', '.join(new)}")


def insert_blocks(net: nn.Module, config: TrainingConfig) -> None:
    """Put the blocks of a configuration into a host; the first process prints where.

    Args:
        net: the host; changed in place.
        config: block, ratio, block_options, init, stages or blocks or match, position.

    Raises:
        ValueError: as :func:`gcnet.insert`.
    """
    spec = spec_of(config)
    if spec is None:
        return
    where: dict[str, Any] = {"match": config.match} if config.match else {"stages": config.stages}
    if config.blocks:
        where = {"blocks": config.block_indices()}
    report = insert(net, spec, position=config.position, **where)
    if is_first():
        print(report)


def spec_of(config: TrainingConfig) -> BlockSpec | None:
    """The block that a configuration inserts; None for none.

    Raises:
        ValueError: an unknown block or option; a ratio for a block that has none.
    """
    options = parse_options(config.block_options, "block_options")
    if ":" in config.block:
        if config.ratio is not None:
            raise ValueError(
                f"ratio={config.ratio}: give a block of another library its own options, as block_options=NAME=VALUE"
            )
        return foreign_spec(config.block, options)
    return block_spec(config.block, config.ratio, init=config.init, options=options)


def apply_norm_and_frozen(net: nn.Module, config: TrainingConfig) -> None:
    """Fix or synchronise batch norms and freeze parts of the host; parameters and buffers keep their names.

    Args:
        net: with its weights and blocks; changed in place.
        config: norm and frozen.

    Raises:
        ValueError: no batch norms to fix or synchronise; a part that the host does not have.
    """
    if config.norm == "sync":
        synchronise_norms(net)  # before freezing: it replaces the norms
    elif config.norm == "fixed":
        fix_norms(net)
    freeze(net, config.frozen)


def check_runs(net: nn.Module, shape: Sequence[int], fields: str) -> None:
    """Run a network once, in eval mode.

    Args:
        net: in the same mode afterwards.
        shape: of the input.
        fields: that ask for such an input, as the error names them.

    Raises:
        ValueError: the network fails.

    Example:
        >>> check_runs(nn.Conv2d(3, 4, 3), (1, 3, 2, 2), "image_size=2")
        Traceback (most recent call last):
        ValueError: image_size=2: Conv2d does not run on an input of [1, 3, 2, 2] (...)
    """
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            net(torch.zeros(*shape))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{fields}: {type(net).__name__} does not run on an input of {list(shape)} ({reason})"
        ) from error
    finally:
        net.train(training)
