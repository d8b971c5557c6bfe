"""Looking does not change what a network computes: what the tests of capture share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import gcnet
from gcnet.analysis.capture import Maps


def captured_unchanged(net: nn.Module, call: Callable[[nn.Module], Any], **options: Any) -> Maps:
    """Capture one call; output, buffers, random state and what is installed are as without, to the bit."""
    state = copy.deepcopy(net.state_dict())
    torch.manual_seed(1)
    expected = call(net)
    buffers = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net.load_state_dict(state)
    random = torch.get_rng_state()
    before = {module: dict(vars(module)) for module in net.modules()}
    torch.manual_seed(1)
    with gcnet.capture(net, **options) as maps:
        output = call(net)
    assert torch.equal(output, expected)
    assert torch.equal(torch.get_rng_state(), random)
    for name, buffer in net.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    for module, own in before.items():
        assert vars(module).keys() == own.keys()
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert not any(tensor.requires_grad for record in maps.values() for tensor in (record.input, record.output))
    return maps
