"""Stand-in for gcnet.training.network until it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcnet import insertion
from gcnet.blocks.names import block_spec
from gcnet.training.backbones import build_backbone, load_weights, read_weights
from gcnet.training.config import TrainingConfig


def classifier(config: TrainingConfig, classes: int) -> nn.Module:
    """The backbone with its blocks."""
    weights = config.weights
    from_file = None if weights in (None, "pretrained") else read_weights(Path(str(weights)))
    with_blocks = from_file is not None and any(".context_block" in name for name in from_file)
    net = build_backbone(config.backbone, classes, weights if from_file is None else None)
    if from_file is not None and not with_blocks:
        load_weights(net, from_file, source=str(weights))
    spec = block_spec(config.block, config.ratio, init="identity")
    if spec is not None:
        where: dict[str, Any] = {"match": config.match} if config.match else {"stages": config.stages}
        print(insertion.insert(net, spec, position=config.position, **where))
    if from_file is not None and with_blocks:
        load_weights(net, from_file, source=str(weights))
    return net


def check_runs(net: nn.Module, name: str, size: int) -> None:
    """Raise ValueError unless the network takes images of this size."""
    net.eval()
    try:
        with torch.no_grad():
            net(torch.zeros(2, 3, size, size))
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name}={size}: {type(net).__name__} does not run on such images ({reason})") from error
    finally:
        net.train()
