"""Stand-in until the branch of the networks is merged."""

from __future__ import annotations

from typing import Any

from torch import nn

from gcnet.blocks.names import block_spec
from gcnet.insertion import insert
from gcnet.training.backbones import build_backbone
from gcnet.training.config import TrainingConfig


def classifier(config: TrainingConfig, classes: int) -> nn.Module:
    """Host with weights, blocks, norm and frozen stages."""
    net = build_backbone(config.backbone, classes, config.weights)
    insert_blocks(net, config)
    apply_norm_and_frozen(net, config)
    return net


def insert_blocks(net: nn.Module, config: TrainingConfig) -> None:
    """Blocks of the configuration."""
    spec = block_spec(config.block, config.ratio, init=config.init)
    if spec is not None:
        where: dict[str, Any] = {"match": config.match} if config.match else {"stages": config.stages}
        print(insert(net, spec, position=config.position, **where))


def apply_norm_and_frozen(net: nn.Module, config: TrainingConfig) -> None:
    """Not yet."""
