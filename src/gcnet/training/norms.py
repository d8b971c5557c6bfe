"""Batch norms that keep their statistics, and batch norms over all processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.ops.misc import FrozenBatchNorm2d

from gcnet.insertion.attach import host_modules


def fix_norms(net: nn.Module) -> None:
    """Keep the statistics of all batch norms of a host as they are; their factors train on.

    Norms within inserted blocks go on as they are. In a network with a ``backbone`` the host is that.

    Args:
        net: with or without blocks; changed in place.

    Raises:
        ValueError: a host without batch norms.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> fix_norms(net)
        >>> _ = net.train()(torch.randn(2, 3, 8, 8))
        >>> net[1].running_mean
        tensor([0., 0., 0., 0.])
    """
    host = getattr(net, "backbone", net)
    modules = host_modules(host).values()
    if not any(isinstance(module, (_BatchNorm, FrozenBatchNorm2d)) for module in modules):
        raise _without_norms(host, "fixed")
    keep_statistics(modules)


def keep_statistics(modules: Iterable[nn.Module]) -> None:
    """Let the batch norms among ``modules`` work in eval mode, whatever mode the network is put into."""
    for module in modules:
        if isinstance(module, _BatchNorm):
            module.eval()
            module.register_forward_pre_hook(_evaluate)


def _evaluate(norm: nn.Module, inputs: Any) -> None:
    """Part of the norm itself, so that copies, pickles and DDP keep it."""
    norm.training = False


def synchronise_norms(net: nn.Module) -> None:
    """Turn all batch norms into ones over all processes, which train on GPUs only; names and weights stay.

    Args:
        net: with or without blocks; changed in place.

    Raises:
        ValueError: a network without batch norms.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        >>> synchronise_norms(net)
        >>> type(net[1]).__name__
        'SyncBatchNorm'
    """
    from timm.layers import convert_sync_batchnorm  # torch's own loses the activation in norms of timm

    if not any(isinstance(module, _BatchNorm) for module in net.modules()):
        raise _without_norms(net, "sync")
    convert_sync_batchnorm(net)


def _without_norms(net: nn.Module, norm: str) -> ValueError:
    return ValueError(f"norm={norm!r}: {type(net).__name__} has no batch norms; leave it at 'batch'")
