"""Every block, in every form that computes something else. Invariant tests run over these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import gcnet
from gcnet import Block, BlockSpec

CHANNELS = 32


@dataclass(frozen=True)
class Case:
    name: str
    block: type[Block]
    options: dict[str, Any]
    dims: tuple[int, ...] = (1, 2, 3)

    def spec(self, **more: Any) -> BlockSpec:
        return self.block.spec(**{**self.options, **more})

    def build(self, *, dims: int = 2, channels: int = CHANNELS, **more: Any) -> Block:
        extra = {"dims": dims} if self.block.has_spatial_kernels else {}
        return self.block(channels, **{**self.options, **extra, **more})

    @property
    def normalises_batch(self) -> bool:
        return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.build().modules())


CASES = [
    Case("gc", gcnet.GlobalContext, {"ratio": 1 / 8}),
    Case("gc_scale", gcnet.GlobalContext, {"ratio": 1 / 8, "fusion": "scale"}),
    Case("gc_both", gcnet.GlobalContext, {"ratio": 1 / 8, "fusion": ("add", "scale")}),
    Case("gc_average", gcnet.GlobalContext, {"ratio": 1 / 8, "pooling": "average"}),
    Case("gc_projection", gcnet.GlobalContext, {"ratio": None}),
    Case("gc_plain_bottleneck", gcnet.GlobalContext, {"hidden": 4, "norm": False, "relu": False}),
    Case("context_block", gcnet.ContextBlock, {"ratio": 1 / 8}),
    Case("context_block_mul", gcnet.ContextBlock, {"ratio": 1 / 8, "fusion_types": ("channel_mul",)}),
    Case("snl", gcnet.SimplifiedNonLocal, {}),
    Case("nl", gcnet.NonLocal, {}),
    Case("nl_gaussian", gcnet.NonLocal, {"pairwise": "gaussian", "scale": "inverse_sqrt"}),
    Case("nl_dot_product", gcnet.NonLocal, {"pairwise": "dot_product", "subsample": "after"}),
    Case("nl_concatenation", gcnet.NonLocal, {"pairwise": "concatenation", "subsample": "before"}),
    Case("nl_norm", gcnet.NonLocal, {"norm": True}),
    Case("se", gcnet.SqueezeExcite, {"ratio": 1 / 8}),
    Case("se_hard", gcnet.SqueezeExcite, {"ratio": 1 / 8, "activation": "silu", "gate_function": "hard_sigmoid"}),
    Case("sk", gcnet.SelectiveKernel, {"groups": 4, "hidden": 8}),
    Case("cbam", gcnet.CBAM, {"ratio": 1 / 8}),
    Case("cbam_code", gcnet.CBAM, {"ratio": 1 / 8, "form": "code"}),
    Case("bam", gcnet.BAM, {"ratio": 1 / 8}),
    Case("bam_code", gcnet.BAM, {"ratio": 1 / 8, "form": "code"}),
    Case("scse", gcnet.SCSE, {}),
    Case("scse_code", gcnet.SCSE, {"form": "code"}),
]

IDENTITY_CASES = [case for case in CASES if case.block.can_be_identity]


def example(
    dims: int = 2, *, batch: int = 2, channels: int = CHANNELS, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    spatial = {1: (19,), 2: (9, 7), 3: (4, 5, 6)}[dims]
    return torch.randn(batch, channels, *spatial).to(dtype)


def perturb(module: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move a block away from the identity."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter, dtype=torch.float32).to(parameter.dtype))
    return module
