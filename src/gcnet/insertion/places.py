"""Modules by those who hold them: put into their place, and checked to stand there still."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from gcnet.insertion.attach import places_of

Holders = tuple[tuple[nn.Module, str], ...]


def put(holders: Iterable[tuple[nn.Module, str]], module: nn.Module) -> None:
    """Make ``module`` the child that its holders have under these names."""
    for holder, name in holders:
        holder._modules[name] = module


def check_in_place(holders: Iterable[tuple[nn.Module, str]], module: nn.Module, path: str, by: str) -> None:
    """Raise RuntimeError unless ``module`` still is what ``by`` put there, and hosts no context block."""
    if any(holder._modules.get(name) is not module for holder, name in holders):
        raise RuntimeError(f"{path} is no longer the block that this {by} put there")
    if places_of(module):
        raise RuntimeError(f"{path} hosts a context block by now; gcnet.remove(model) first")
