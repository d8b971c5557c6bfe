"""A foreign module and our block in the same state, and the proof that both compute the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from gcnet.blocks.base import Block
from gcnet.layouts import FOREIGN
from gcnet.layouts.table import Foreign, Key, Reading, qualified_name, to_ours, to_theirs

#: Largest relative difference between the outputs of a foreign module and of its twin, in float64.
TOLERANCE = 1e-9


def known(module: nn.Module) -> Foreign | None:
    """What the tables know about the class of ``module`` or the nearest of its bases."""
    names = map(qualified_name, type(module).__mro__)
    return next((FOREIGN[name] for name in names if name in FOREIGN), None)


def twin(module: nn.Module, foreign: Foreign, reading: Reading) -> Block:
    """Our block with the weights, statistics, device, dtype and flags of ``module``.

    Raises:
        ValueError: the tensors of ``module`` are not those of our block.
    """
    ours = foreign.block(reading.channels, **reading.options, device="meta")
    _carry(module, ours, {key.theirs: key.ours for key in reading.keys}, lambda state: to_ours(reading.keys, state))
    return ours


def restore(ours: Block, module: nn.Module, keys: Iterable[Key]) -> None:
    """Give ``module`` the weights, statistics, device, dtype and flags of its twin: the inverse of :func:`twin`.

    Raises:
        ValueError: the tensors of ``ours`` are not those of ``module``.
    """
    keys = tuple(keys)
    _carry(ours, module, {key.ours: key.theirs for key in keys}, lambda state: to_theirs(keys, state))


def difference(module: nn.Module, foreign: Foreign) -> float:
    """Relative difference of the outputs of ``module`` and its twin, in float64, the larger of both modes.

    Both are copies with random weights, so that a zero-initialised layer hides nothing.

    Raises:
        ValueError: it is larger than ``TOLERANCE``.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")

    with torch.inference_mode(False), torch.no_grad():
        peer = copy.deepcopy(module).to_empty(device="cpu").double()
        for parameter in peer.parameters():
            inputs = parameter.numel() / parameter.shape[0] if parameter.dim() else 1
            parameter.copy_(normal(*parameter.shape) * inputs**-0.5)
        for buffer in peer.buffers():
            buffer.copy_(normal(*buffer.shape).abs() + 0.5 if buffer.is_floating_point() else torch.zeros_like(buffer))
        reading = foreign.read(peer)
        ours = twin(peer, foreign, reading)
        x = normal(2, reading.channels, *(7, 6, 5)[: foreign.dims])
        worst = 0.0
        for training in (False, True):
            expected = peer.train(training)(x)
            worst = max(worst, float((ours.train(training)(x) - expected).norm() / expected.norm()))
    if not worst <= TOLERANCE:
        raise ValueError(f"its outputs are not those of {foreign.block.__name__}: relative difference {worst:.1g}")
    return worst


def _carry(
    source: nn.Module,
    target: nn.Module,
    names: Mapping[str, str],
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
) -> None:
    """Give ``target`` the state of ``source``, and per layer and parameter what a state dict does not hold."""
    with torch.inference_mode(False):
        state = translate({name: value.clone() for name, value in source.state_dict().items()})
        missing = target.state_dict().keys() - state.keys()
        if missing:
            raise ValueError(f"it has nothing for {', '.join(sorted(missing)[:3])} of {type(target).__name__}")
        target.load_state_dict(state, assign=True)
    target.train(source.training)
    parameters = dict(target.named_parameters())
    for name, parameter in source.named_parameters():
        parameters[names[name]].requires_grad_(parameter.requires_grad)
    for name in source.state_dict():
        layer, same = (m.get_submodule(key.rpartition(".")[0]) for m, key in ((source, name), (target, names[name])))
        same.training = layer.training
        for option in ("eps", "momentum"):
            if hasattr(layer, option):
                setattr(same, option, getattr(layer, option))
