"""Containers do not see the blocks they host, and stay usable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import gcnet

from .nets import perturb

SPEC = gcnet.GlobalContext.spec(ratio=1 / 4)


def unit() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())


class Named(nn.ModuleDict):
    def forward(self, x: Tensor) -> Tensor:
        for _, child in self.items():
            x = x + child(x)
        return x


class Listed(nn.ModuleList):
    def forward(self, x: Tensor) -> Tensor:
        for index in range(len(self)):
            x = self[index](x)
        return x


class Children(nn.Module):
    def __init__(self, walk: str) -> None:
        super().__init__()
        self.a, self.b, self.walk = unit(), unit(), walk

    def forward(self, x: Tensor) -> Tensor:
        if self.walk == "children":
            for child in self.children():
                x = child(x)
        elif self.walk == "named_children":
            for _, child in self.named_children():
                x = child(x)
        else:
            for child in self._modules.values():
                x = child(x)
        return x


CONTAINERS: dict[str, Callable[[], nn.Module]] = {
    "Sequential": lambda: nn.Sequential(unit(), unit()),
    "ModuleDict": lambda: Named({"a": unit(), "b": unit()}),
    "ModuleList": lambda: Listed([unit(), unit()]),
    "children": lambda: Children("children"),
    "named_children": lambda: Children("named_children"),
    "_modules": lambda: Children("_modules"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("via", ["call", "fx", "compile", "export"])
def test_the_block_is_applied_once_after_the_children(kind: str, via: str) -> None:
    model = nn.Sequential(CONTAINERS[kind]())
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        inner = model(x)
        gcnet.insert(model, SPEC, match="0", example=x)
        perturb(model)
        expected = model[0].context_block(inner)
        if via == "call":
            run = model
        elif via == "fx":
            run = torch.fx.symbolic_trace(model)
        elif via == "compile":
            torch._dynamo.reset()
            run = torch.compile(model, fullgraph=True, backend="eager")
        else:
            run = torch.export.export(model, (x,)).module()
        torch.testing.assert_close(run(x), expected)
        assert not torch.allclose(expected, inner)


def hosting(kind: str) -> nn.Module:
    model = nn.Sequential(CONTAINERS[kind]())
    gcnet.insert(model, SPEC, match="0", example=torch.randn(2, 8, 6, 6))
    return model[0]


def test_sequential_looks_as_before() -> None:
    host = hosting("Sequential")
    assert len(host) == 2
    assert [type(module) for module in host] == [nn.Sequential, nn.Sequential]
    assert host[-1] is host[1]
    assert type(host[:1]) is nn.Sequential
    assert list(host[:1].state_dict()) == ["0.0.weight", "0.0.bias"]
    with pytest.raises(IndexError, match="out of range"):
        host[2]
    assert "context_block" in dict(host.named_children())
    assert "context_block.key.weight" in host.state_dict()


def test_module_dict_looks_as_before() -> None:
    host = hosting("ModuleDict")
    assert (len(host), list(host), list(host.keys())) == (2, ["a", "b"], ["a", "b"])
    assert list(host.values()) == [host["a"], host["b"]]
    assert "context_block" not in host
    assert "a" in host


def test_editing_a_sequential_keeps_the_block_last() -> None:
    host, x = hosting("Sequential"), torch.randn(1, 8, 6, 6)
    perturb(host)
    block = host.context_block
    host.append(nn.Identity())
    host.insert(0, nn.Identity())
    host[0] = nn.ReLU()
    del host[-1]
    host.extend([nn.Tanh()])
    assert [type(module).__name__ for module in host] == ["ReLU", "Sequential", "Sequential", "Tanh"]
    assert isinstance(host.pop(-1), nn.Tanh)
    assert list(host._modules) == ["0", "1", "2", "context_block"]
    with torch.no_grad():
        assert torch.equal(host(x), block(host[2](host[1](x.relu()))))


def test_editing_other_containers() -> None:
    host = hosting("ModuleDict")
    host.update({"c": nn.ReLU()})
    host.pop("a")
    assert list(host) == ["b", "c"]
    assert list(host._modules) == ["b", "c", "context_block"]
    host = hosting("ModuleList")
    host.insert(0, nn.ReLU())
    host += [nn.Tanh()]
    assert [type(module).__name__ for module in host] == ["ReLU", "Sequential", "Sequential", "Tanh"]
    assert type(host[1:3]) is Listed
