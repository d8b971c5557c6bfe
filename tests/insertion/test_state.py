"""Status, switching off, parameters, groups for optimizers, and loading the host's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import gcnet

from .nets import Plain, image, modified, resnet

SPEC = gcnet.GlobalContext.spec(ratio=1 / 4)


def test_status() -> None:
    model = resnet(layers=(1, 1, 1, 1))
    assert str(gcnet.status(model)) == "no context blocks"
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 16), stages=("c4", "c5"))
    model.layer4[0].context_block.enabled = False
    assert str(gcnet.status(model)).splitlines() == [
        "path                    position   block          channels  parameters  enabled",
        "layer3.0.context_block  after_1x1  GlobalContext     1,024     133,313  yes",
        "layer4.0.context_block  after_1x1  GlobalContext     2,048     528,769  no",
        "2 blocks, 662,082 parameters",
    ]


def test_disabled_restores_each_block_also_after_an_error() -> None:
    model = modified()
    model.layer3[0].context_block.enabled = False
    states = [block.enabled for block in gcnet.status(model)]
    with gcnet.disabled(model):
        assert not any(block.enabled for block in gcnet.status(model))
    assert [block.enabled for block in gcnet.status(model)] == states
    with pytest.raises(KeyError), gcnet.disabled(model):
        raise KeyError
    assert [block.enabled for block in gcnet.status(model)] == states
    gcnet.enable(model)
    assert all(block.enabled for block in gcnet.status(model))
    gcnet.disable(model)
    assert not any(block.enabled for block in gcnet.status(model))


@pytest.mark.parametrize("switch", [gcnet.disable, gcnet.enable, lambda model: gcnet.disabled(model).__enter__()])
def test_nothing_to_switch(switch: Any) -> None:
    with pytest.raises(ValueError, match="this ResNet has no context blocks"):
        switch(resnet())


def test_added_parameters_and_state() -> None:
    model = modified(spec=gcnet.NonLocal.spec(norm=True))
    pairs = gcnet.added_parameters(model, named=True)
    assert all(parameter is one for (_, parameter), one in zip(pairs, gcnet.added_parameters(model), strict=True))
    assert all(model.get_parameter(name) is parameter for name, parameter in pairs)
    state = gcnet.added_state_dict(model)
    assert set(state) > {name for name, _ in pairs}
    assert any(key.endswith("running_mean") for key in state)
    other = modified(spec=gcnet.NonLocal.spec(norm=True))
    other.load_state_dict(state, strict=False)
    assert all(torch.equal(other.state_dict()[key], value) for key, value in state.items())
    assert gcnet.added_parameters(resnet()) == []
    assert gcnet.added_state_dict(resnet()) == {}


def test_names_do_not_change_with_wrappers() -> None:
    model = modified()
    names = [name for name, _ in gcnet.added_parameters(model, named=True)]
    for wrapped in (torch.compile(model, backend="eager"), nn.DataParallel(model)):
        assert [name for name, _ in gcnet.added_parameters(wrapped, named=True)] == names
        assert list(gcnet.added_state_dict(wrapped)) == list(gcnet.added_state_dict(model))
        assert gcnet.status(wrapped) == gcnet.status(model)


def test_a_child_of_that_name_which_is_not_ours() -> None:
    model = Plain()
    model.units[0].context_block = nn.Conv2d(16, 16, 1)
    gcnet.insert(model, SPEC, match="units.1")
    assert {name.rpartition(".context_block")[0] for name, _ in gcnet.added_parameters(model, named=True)} == {
        "units.1"
    }


# groups


def test_every_trainable_parameter_is_in_one_group() -> None:
    model = modified(spec=gcnet.ContextBlock.spec(ratio=1 / 4))
    model.conv1.requires_grad_(False)
    model.tied = model.layer4[0].conv1
    groups = gcnet.param_groups(model, lr=0.1, added_lr=0.2, weight_decay=0.01)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    summary = {group["name"]: (group["lr"], group["weight_decay"]) for group in groups}
    assert summary == {
        "host": (0.1, 0.01),
        "host, no decay": (0.1, 0.0),
        "added": (0.2, 0.01),
        "added, no decay": (0.2, 0.0),
    }
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    plain = {names[id(p)] for group in groups if "no decay" in group["name"] for p in group["params"]}
    assert "layer3.0.context_block.channel_add_conv.1.weight" in plain
    assert "layer3.0.context_block.conv_mask.bias" in plain
    assert {"layer3.0.bn1.weight", "fc.bias"} <= plain
    assert not {"fc.weight", "layer3.0.conv1.weight", "layer3.0.context_block.conv_mask.weight"} & plain
    torch.optim.AdamW(groups)


def test_groups_of_plain_and_frozen_models() -> None:
    assert [group["name"] for group in gcnet.param_groups(resnet(), lr=0.1)] == ["host", "host, no decay"]
    model = modified(resnet().requires_grad_(False))
    groups = gcnet.param_groups(model, lr=0.1)
    assert [(group["name"], group["lr"]) for group in groups] == [("added", 0.1), ("added, no decay", 0.1)]


def test_groups_of_wrapped_models() -> None:
    model = modified()
    names = [group["name"] for group in gcnet.param_groups(nn.DataParallel(model), lr=0.1)]
    assert names == ["host", "host, no decay", "added", "added, no decay"]


# loading


def plain_state() -> dict[str, Any]:
    return {key: value.clone() + 1 for key, value in resnet().state_dict().items()}


def test_load_host() -> None:
    model = modified()
    added = {key: value.clone() for key, value in gcnet.added_state_dict(model).items()}
    state = plain_state()
    loaded = gcnet.load_host(model, state)
    assert set(loaded.loaded) == set(state)
    assert set(loaded.kept) == set(added)
    assert (
        str(loaded) == f"loaded {len(state)} entries; {len(added)} entries of context blocks are not in the checkpoint"
    )
    now = model.state_dict()
    assert all(torch.equal(now[key], value) for key, value in {**state, **added}.items())


def test_load_host_takes_whole_checkpoints_too() -> None:
    model = modified()
    state = {key: value + 1 for key, value in model.state_dict().items()}
    assert gcnet.load_host(model, state).kept == ()
    assert torch.equal(model.state_dict()["fc.weight"], state["fc.weight"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layer3.0.conv4.weight": torch.zeros(1)}, KeyError, "not in the model; nearest: 'layer3.0.conv"),
        ({"fc.weight": torch.zeros(5, 7)}, ValueError, r"'fc.weight' is \[5, 7\] in the checkpoint and \[5, 2048\]"),
        ({"fc.weight": None}, KeyError, "lacks 1 entries of the host, such as 'fc.weight'"),
    ],
)
def test_load_host_is_strict_about_the_host(change: dict[str, Any], error: type, message: str) -> None:
    model, state = modified(), plain_state()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for key, value in change.items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    with pytest.raises(error, match=message):
        gcnet.load_host(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_pretrained_host_computes_what_it_did() -> None:
    model, source = resnet(), resnet()
    with torch.no_grad():
        source.fc.weight += 1
    gcnet.insert(model, SPEC, stages=("c3", "c4", "c5"))
    gcnet.load_host(model, source.state_dict())
    assert torch.equal(model(image()), source(image()))


def test_disabled_blocks_do_nothing_whoever_calls_them() -> None:
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU()))
    x = torch.randn(2, 3, 8, 8)
    expected = model(x)
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="0")
    for parameter in gcnet.added_parameters(model):
        nn.init.normal_(parameter)
    walk = nn.Sequential(*model[0].children())
    assert not torch.equal(walk(x), expected)
    with gcnet.disabled(model):
        assert torch.equal(walk(x), expected)


def small() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU())
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="1")
    return model


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda plain: {**plain, "0.bias": None}, TypeError, "'0.bias' of the checkpoint is a NoneType"),
        (lambda plain: {"state_dict": plain}, KeyError, r"pass state_dict\['state_dict'\]"),
        (lambda plain: {f"module.{key}": value for key, value in plain.items()}, KeyError, "take it off"),
        (lambda plain: "x.pt", TypeError, "gcnet.load"),
    ],
)
def test_checkpoints_that_are_none_load_nothing(change: Any, error: type[Exception], message: str) -> None:
    model = small()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    plain = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU()).state_dict()
    with pytest.raises(error, match=message):
        gcnet.load_host(model, change(plain))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_nothing_can_be_loaded_on_the_meta_device() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU()).state_dict()
    with torch.device("meta"):
        model = small()
    with pytest.raises(ValueError, match="to_empty"):
        gcnet.load_host(model, plain)
