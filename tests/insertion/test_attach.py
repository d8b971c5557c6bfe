"""Attaching a block to one module, and what cannot host one."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import gcnet
from gcnet.insertion.attach import (
    Place,
    added_blocks,
    attach,
    check_site,
    context_class,
    detach,
    free_name,
    host_modules,
    original_class,
    places_of,
)

from .nets import Bottleneck, Plain, resnet


def block(channels: int = 64) -> gcnet.GlobalContext:
    return gcnet.GlobalContext(channels, ratio=1 / 4, init="identity")


def host() -> nn.Module:
    return resnet().layer3[0]


def test_attach_and_detach() -> None:
    module = host()
    names = list(module._modules)
    attach(module, Place("after_1x1", "context_block"), block(1024))
    assert isinstance(module, Bottleneck)
    assert type(module).__name__ == "BottleneckWithContext"
    assert (original_class(module), places_of(module)) == (Bottleneck, (Place("after_1x1", "context_block"),))
    assert repr(module).startswith("BottleneckWithContext(\n  (conv1)")
    detach(module, "context_block")
    assert type(module) is Bottleneck
    assert list(module._modules) == names


def test_classes_are_made_once() -> None:
    places = (Place("after_1x1", "context_block"),)
    assert context_class(Bottleneck, places) is context_class(Bottleneck, places)


def test_two_positions_in_one_host() -> None:
    model, x = resnet(), torch.randn(1, 3, 64, 64)
    before = model(x)
    for position in ("after_block", "after_1x1", "after_3x3", "after_add"):
        gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4), stages="c5", position=position)
    names = ["context_block", "context_block2", "context_block3", "context_block4"]
    assert [place.name for place in places_of(model.layer4[0])] == names
    assert torch.equal(model(x), before)
    seen: list[int] = []
    blocks = [model.layer4[0].get_submodule(name) for name in names]
    hooks = [block.register_forward_hook(lambda m, args, y: seen.append(y.shape[1])) for block in blocks]
    model(x)
    for hook in hooks:
        hook.remove()
    assert seen == [512, 2048, 2048, 2048]
    copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert torch.equal(copied(x), before)
    detach(model.layer4[0], "context_block2")
    assert [place.name for place in places_of(model.layer4[0])] == [names[0], *names[2:]]
    assert torch.equal(model(x), before)
    assert len(gcnet.remove(model)) == 3
    assert type(model.layer4[0]) is Bottleneck


def test_a_host_with_an_attribute_of_that_name() -> None:
    model = Plain()
    model.units[1].context_block = nn.Identity()
    assert [free_name(unit) for unit in model.units] == ["context_block", "context_block2", "context_block"]


def test_context_blocks_are_no_hosts() -> None:
    model = Plain()
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="units.*")
    assert not any("context_block" in path for path in host_modules(model))
    assert [path for path, *_ in added_blocks(model)] == ["units.0", "units.1", "units.2"]


class Reduces(nn.Module):
    """Pickles by its constructor, as some libraries do."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.conv = nn.Conv2d(width, width, 1)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.width,), self.__dict__

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def test_hosts_that_pickle_in_their_own_way() -> None:
    module, x = Reduces(64), torch.randn(1, 64, 4, 4)
    attach(module, Place("after_block", "context_block"), gcnet.GlobalContext(64, ratio=1 / 4))
    nn.init.normal_(module.context_block.add.expand.weight)
    copied = copy.deepcopy(module)
    assert type(copied) is type(module)
    assert torch.equal(copied(x), module(x))


class Silent(nn.Module):
    """No forward."""


def _instance_forward() -> nn.Module:
    module = nn.Conv2d(4, 4, 1)
    module.forward = lambda x: x
    return module


@pytest.mark.parametrize(
    ("module", "position", "message"),
    [
        (nn.BatchNorm2d(4), "after_block", "SyncBN conversion and conv-BN folding"),
        (nn.ModuleList(), "after_block", "no forward and is never called"),
        (Silent(), "after_block", "no forward and is never called"),
        (_instance_forward(), "after_block", "forward of its own, set on the instance"),
        (parametrizations.weight_norm(nn.Conv2d(4, 4, 1)), "after_block", "parametrised"),
        (nn.Conv2d(4, 4, 1), "after_1x1", r"this class offers 'after_block'"),
        (nn.Conv2d(4, 4, 1), "after_blok", "did you mean 'after_block'"),
    ],
)
def test_modules_that_cannot_host(module: nn.Module, position: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_site(module, "some.path", position)


def test_scripted_modules_cannot_host() -> None:
    with pytest.warns((FutureWarning, DeprecationWarning)):
        scripted = torch.jit.script(nn.Conv2d(4, 4, 1))
    with pytest.raises(ValueError, match="ScriptModule"):
        check_site(scripted, "some.path", "after_block")


def test_a_second_block_at_one_site() -> None:
    module = host()
    attach(module, Place("after_1x1", "context_block"), block(1024))
    with pytest.raises(ValueError, match=r"'layer3.0' already has a context block after_1x1; remove it first"):
        check_site(module, "layer3.0", "after_1x1")
    check_site(module, "layer3.0", "after_add")


def test_parametrising_a_host_later() -> None:
    module, x = nn.Sequential(nn.Conv2d(8, 8, 1)), torch.randn(1, 8, 4, 4)
    gcnet.insert(module, gcnet.GlobalContext.spec(ratio=1 / 4), match="0")
    nn.init.normal_(module[0].context_block.add.expand.weight)
    before = module(x)
    parametrizations.weight_norm(module[0])
    torch.testing.assert_close(module(x), before)
    with pytest.raises(ValueError, match="'0' became a Parametrized"):
        gcnet.remove(module)
    torch.nn.utils.parametrize.remove_parametrizations(module[0], "weight")
    torch.testing.assert_close(module(x), before)
    gcnet.remove(module)
    assert type(module[0]) is nn.Conv2d
