"""Invariant 1: the same weights and input give the same output and the same gradients as a peer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

#: A correctly rounded float32 result is off by up to half of this; below it a ratio of errors says nothing.
EPSILON = torch.finfo(torch.float32).eps


def randomise(module: nn.Module) -> None:
    """Move every parameter and statistic away from its start, norms close to what training gives."""
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            parameter.normal_(std=0.3 if parameter.dim() > 1 else 0.1)
            if parameter.dim() <= 3 and name.endswith(("norm.weight", "bn.weight", "_conv.1.weight")):
                parameter.add_(1.0)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)


def copy_weights(ours: nn.Module, peer: nn.Module, names: Mapping[str, str]) -> None:
    """Give ours the peer's weights; ``names`` maps every name of ours to one of the peer's."""
    state = peer.state_dict()
    own = ours.state_dict()
    assert set(names) == {name for name in own if not name.endswith("num_batches_tracked")}
    ours.load_state_dict({name: state[names[name]].reshape(own[name].shape) for name in names}, strict=False)


def results(module: nn.Module, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    """Output, gradient of the input, and gradient of every parameter."""
    module.zero_grad()
    x = x.detach().clone().requires_grad_()
    y = module(x)
    y.backward(g)
    found = {"output": y.detach(), "input": x.grad}
    found.update({name: p.grad for name, p in module.named_parameters()})
    return {name: value.double() for name, value in found.items() if value is not None}


def assert_same_as_peer(
    ours: nn.Module,
    peer: nn.Module,
    names: Mapping[str, str],
    x: Tensor,
    *,
    null: tuple[str, ...] = (),
    exact_within: float = 1e-12,
) -> None:
    """float64 within ``exact_within``; float32 within twice the peer's error and 1e-5, norm-wise to float64.

    Rounding errors of one draw of weights scatter by more than a factor of two on small tensors, with a heavy tail
    where a LayerNorm meets a small variance; the float32 errors are therefore medians over draws, and more are drawn
    where the first leave doubt. ``null`` names parameters of ours whose gradient is mathematically zero, which are
    judged absolutely.
    """
    errors: dict[str, list[Tensor]] = defaultdict(list)
    for draws in (12, 100):
        while len(errors["output"]) < draws:
            for name, pair in _errors_of_one_draw(ours, peer, names, x, null, exact_within).items():
                errors[name].append(pair)
        medians = {name: torch.stack(drawn).median(dim=0).values.tolist() for name, drawn in errors.items()}
        worse = {name: pair for name, pair in medians.items() if pair[0] > min(1e-5, max(2 * pair[1], EPSILON))}
        if not worse:
            return
    raise AssertionError(f"float32 errors of ours and of the peer: {worse}")


def _errors_of_one_draw(
    ours: nn.Module, peer: nn.Module, names: Mapping[str, str], x: Tensor, null: tuple[str, ...], exact_within: float
) -> dict[str, Tensor]:
    randomise(peer)
    copy_weights(ours.double(), peer.double(), names)
    x, g = torch.randn_like(x, dtype=torch.float64), torch.randn_like(x, dtype=torch.float64)
    exact, judge = results(ours, x, g), results(peer, x, g)
    single, peer_single = (results(module.float(), x.float(), g.float()) for module in (ours, peer))
    errors = {}
    for name, value in exact.items():
        expected, rounded = (r[names.get(name, name)].reshape(value.shape) for r in (judge, peer_single))
        scale = g.norm() if name in null else expected.norm().clamp_min(1e-30)
        assert (value - expected).norm() <= exact_within * scale, name
        errors[name] = torch.stack([(single[name] - value).norm(), (rounded - value).norm()]) / scale
    return errors
