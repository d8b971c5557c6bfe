"""Compiled models: the output is that of the compiled code, and no state tells that somebody looked."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torch._dynamo.utils import counters

import gcnet
from tests.blocks.cases import perturb

X = torch.randn(2, 3, 9, 8)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    counters.clear()


def network():
    block = perturb(gcnet.NonLocal(8, norm=True))
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), block, nn.Conv2d(8, 4, 1))


def by_function(net):
    return torch.compile(net, backend="aot_eager")


def in_place(net):
    net.compile(backend="aot_eager")
    return net


def its_forward(net):
    net.forward = torch.compile(net.forward, backend="aot_eager")
    return net


def a_part(net):
    net[3] = torch.compile(net[3], backend="aot_eager")
    return net


WAYS = [by_function, in_place, its_forward, a_part]
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_output_and_state_are_those_of_the_compiled_model(way, training):
    net = way(network().train(training))
    net(X)
    graphs, state = dict(counters["stats"]), copy.deepcopy(net.state_dict())
    torch.manual_seed(3)
    expected = net(X)
    random, after = torch.get_rng_state(), copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    torch.manual_seed(3)
    with gcnet.capture(net) as maps:
        y = net(X)
    assert torch.equal(y, expected)
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in net.state_dict().items():
        assert torch.equal(value, after[name]), name
    assert [*maps] == ["3"]
    assert len(maps.calls("3")) == 1
    net(X)
    assert dict(counters["stats"]) == graphs  # nothing was compiled for the sake of looking, or anew after it


@each_way
def test_maps_are_those_of_the_model(way):
    net = network().eval()
    with gcnet.capture(net) as expected:
        net(X)
    compiled = way(net)
    with gcnet.capture(compiled) as maps:
        compiled(X)
    torch.testing.assert_close(maps["3"].attention, expected["3"].attention)


def test_the_second_pass_draws_the_same_numbers():
    net = torch.compile(network(), backend="eager")  # which draws as the model itself does
    torch.manual_seed(3)
    with gcnet.capture(net, "3") as maps:
        net(X)
    eager = network()
    eager.load_state_dict(net._orig_mod.state_dict())
    torch.manual_seed(3)
    with gcnet.capture(eager, "3") as expected:
        eager(X)
    torch.testing.assert_close(maps["3"].input, expected["3"].input)


@each_way
def test_gradients(way):
    net = way(network())
    net(X)
    state = copy.deepcopy(net.state_dict())
    grads = []
    for look in (False, True):
        net.load_state_dict(state)
        net.zero_grad()
        torch.manual_seed(3)
        if look:
            with gcnet.capture(net):
                net(X).square().sum().backward()
        else:
            net(X).square().sum().backward()
        grads.append([parameter.grad.clone() for parameter in net.parameters()])
    assert all(map(torch.equal, *grads))


def test_an_input_that_is_changed_in_place():
    net = by_function(nn.Sequential(nn.ReLU(inplace=True), perturb(gcnet.NonLocal(3))))
    x = X.clone()
    with gcnet.capture(net) as maps:
        net(x)
    assert torch.equal(x, X.relu())
    assert torch.equal(maps["1"].input, x)


@torch.no_grad()
def test_a_compiled_transformer():
    net = torchvision.models.VisionTransformer(32, 8, 2, 4, 16, 32, num_classes=3).eval()
    x = torch.randn(2, 3, 32, 32)
    with gcnet.capture(net) as expected:
        net(x)
    compiled = by_function(net)
    y = compiled(x)
    with gcnet.capture(compiled, "encoder.layers.*") as maps:
        assert torch.equal(compiled(x), y)
    assert [*maps] == [*expected]
    for path, record in maps.items():
        assert record.size == (4, 4)
        torch.testing.assert_close(record.attention, expected[path].attention)
