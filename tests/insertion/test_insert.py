"""Inserting and removing: at home in the model, all or nothing, and never on a wrapped model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import gcnet

from .nets import Bottleneck, Plain, image, modified, resnet

SPEC = gcnet.GlobalContext.spec(ratio=1 / 4)


def snapshot(model: nn.Module) -> tuple[Any, ...]:
    return (
        {path: type(module) for path, module in model.named_modules()},
        {name: id(parameter) for name, parameter in model.named_parameters()},
        [parameter.requires_grad for parameter in model.parameters()],
        [len(module._forward_hooks) for module in model.modules()],
        [module.training for module in model.modules()],
    )


def test_the_report() -> None:
    model = resnet(layers=(1, 1, 1, 1))
    report = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 16), stages=("c4", "c5"))
    table = [
        "path                    position   block          channels  parameters",
        "layer3.0.context_block  after_1x1  GlobalContext     1,024     133,313",
        "layer4.0.context_block  after_1x1  GlobalContext     2,048     528,769",
    ]
    assert str(report).splitlines() == [*table, "inserted 2 blocks, 662,082 parameters"]
    assert str(gcnet.remove(model)).splitlines() == [*table, "removed 2 blocks, 662,082 parameters"]


def test_blocks_are_at_home() -> None:
    model = resnet().double()
    model.layer3.train()
    model.layer2[0].conv1.to(torch.bfloat16)
    gcnet.insert(model, SPEC, stages=("c2", "c3", "c4"), blocks=0)
    blocks = [model.layer1[0].context_block, model.layer2[0].context_block, model.layer3[0].context_block]
    dtypes = [{parameter.dtype for parameter in block.parameters()} for block in blocks]
    assert dtypes == [{torch.float64}, {torch.bfloat16}, {torch.float64}]
    assert [block.training for block in blocks] == [False, False, True]
    assert all(parameter.requires_grad for block in blocks for parameter in block.parameters())


def test_frozen_hosts_stay_frozen() -> None:
    model = resnet().requires_grad_(False)
    gcnet.insert(model, SPEC, stages="c4")
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trainable == [name for name, _ in gcnet.added_parameters(model, named=True)]
    assert all(parameter.requires_grad for parameter in gcnet.added_parameters(model))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_blocks_with_spatial_kernels_get_their_rank(dims: int) -> None:
    model = Plain(dims)
    gcnet.insert(model, gcnet.CBAM.spec(ratio=1 / 4), match="units.*")
    model(image(8, dims=dims))


def test_insertion_under_inference_mode_can_still_train() -> None:
    model = resnet()
    with torch.inference_mode():
        gcnet.insert(model, SPEC, stages="c5")
    model(image()).sum().backward()
    assert all(parameter.grad is not None for parameter in gcnet.added_parameters(model))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_hosts_on_a_gpu() -> None:
    model, x = resnet().cuda(), image().cuda()
    before, state = model(x), torch.cuda.get_rng_state()
    plan = gcnet.plan(model, SPEC, match="layer3.*", example=image())
    assert torch.equal(torch.cuda.get_rng_state(), state)
    gcnet.insert(model, plan)
    assert all(parameter.is_cuda for parameter in gcnet.added_parameters(model))
    assert torch.equal(model(x), before)


def test_a_plan_fits_models_built_alike() -> None:
    plan = gcnet.plan(resnet(), SPEC, stages="c4")
    model = resnet()
    gcnet.insert(model, plan)
    assert [block.path for block in gcnet.status(model)] == ["layer3.0.context_block", "layer3.1.context_block"]
    with pytest.raises(ValueError, match=r"'layer3.0' already has a context block after_1x1"):
        gcnet.insert(model, plan)


def _taken(model: nn.Module) -> None:
    model.layer3[0].context_block = nn.Identity()


def _narrow(model: nn.Module) -> None:
    model.layer3[1].conv3 = nn.Conv2d(256, 512, 1)


def _gone(model: nn.Module) -> None:
    model.layer3 = model.layer3[:1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_taken, "'layer3.0' has a 'context_block' already; plan again"),
        (_narrow, "'layer3.1' has 512 channels after_1x1, the plan says 1024"),
        (_gone, "there is no module 'layer3.1'"),
    ],
)
def test_a_plan_that_does_not_fit(change: Callable[[nn.Module], None], message: str) -> None:
    model = resnet()
    plan = gcnet.plan(model, SPEC, stages="c4")
    change(model)
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        gcnet.insert(model, plan)
    assert snapshot(model) == before


@pytest.mark.parametrize("failing", ["build", "attach"])
def test_a_failure_leaves_the_model_as_it_was(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = resnet()
    before, expected = snapshot(model), model(image())
    plan = gcnet.plan(model, SPEC, stages=("c4", "c5"))
    if failing == "build":
        plan = replace(plan, sites=(*plan.sites[:-1], replace(plan.sites[-1], position="after_add", channels=2)))
    else:
        real = gcnet.insertion.attach.attach

        def fails_at_the_last(module: nn.Module, *args: Any) -> None:
            if module is model.layer4[0]:
                raise RuntimeError("no more")
            real(module, *args)

        monkeypatch.setitem(gcnet.insert.__globals__, "attach", fails_at_the_last)
    with pytest.raises((ValueError, RuntimeError)):
        gcnet.insert(model, plan)
    assert snapshot(model) == before
    assert torch.equal(model(image()), expected)


def test_removal_gives_everything_back() -> None:
    model = resnet()
    model.layer3[0].register_forward_hook(lambda *args: None)
    model.layer2.requires_grad_(False)
    before = snapshot(model)
    gcnet.insert(model, SPEC, stages=("c3", "c4"))
    gcnet.insert(model, SPEC, match="layer*")
    gcnet.remove(model)
    assert snapshot(model) == before
    with pytest.raises(ValueError, match="this ResNet has no context block to remove"):
        gcnet.remove(model)


def test_wrong_arguments() -> None:
    model = resnet()
    with pytest.raises(TypeError, match="takes a plan or a specification"):
        gcnet.insert(model, gcnet.GlobalContext(64, ratio=1 / 4))
    with pytest.raises(TypeError, match=r"stages: options of plan\(\); the plan given has them already"):
        gcnet.insert(model, gcnet.plan(model, SPEC, stages="c4"), stages="c5")


# optimizers


def test_an_optimizer_that_lacks_the_new_parameters() -> None:
    model = resnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"call optimizer.add_param_group\(.*gcnet.added_parameters"):
        gcnet.insert(model, SPEC, stages="c4", optimizer=optimizer)
    optimizer.add_param_group({"params": gcnet.added_parameters(model)})
    before = [parameter.clone() for parameter in gcnet.added_parameters(model)]
    model(image()).square().sum().backward()
    optimizer.step()
    after = gcnet.added_parameters(model)
    assert any(not torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_no_warning_without_an_optimizer() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gcnet.insert(resnet(), SPEC, stages="c4")


# wrapped models


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def compiled_inside(model: nn.Module) -> nn.Module:
    model.layer3 = torch.compile(model.layer3, backend="eager")
    return model


@pytest.mark.parametrize("wrap", [compiled, compiled_in_place, compiled_inside])
def test_compiled_models_are_refused_and_can_still_be_disabled(wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch._dynamo.reset()
    model = modified(resnet(layers=(1, 1, 1, 1)), stages="c4")
    plan = gcnet.plan(model, SPEC, stages="c5")
    with gcnet.disabled(model):
        base = model(image())
    wrapped = wrap(model)
    for action in (
        gcnet.remove,
        lambda m: gcnet.insert(m, plan),
        lambda m: gcnet.insert(m, SPEC, stages="c5"),
        lambda m: gcnet.plan(m, SPEC, stages="c5"),
    ):
        with pytest.raises(RuntimeError, match=r"cannot (remove|insert|plan) .* compiled"):
            action(wrapped)
    assert len(gcnet.status(wrapped)) == 1
    assert not torch.allclose(wrapped(image()), base, rtol=1e-3)
    with gcnet.disabled(wrapped):
        torch.testing.assert_close(wrapped(image()), base)


def test_scripted_models_are_refused() -> None:
    with pytest.warns((FutureWarning, DeprecationWarning)):
        scripted = torch.jit.script(Plain())
    with pytest.raises(RuntimeError, match="ScriptModule"):
        gcnet.insert(scripted, SPEC, match="units.*")


def test_hosts_keep_their_class_for_isinstance() -> None:
    model = modified()
    assert all(isinstance(block, Bottleneck) for block in model.layer3)


class Permissive(nn.Module):
    """Answers None for every attribute it does not have, as some wrappers do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 8, 1)

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def test_hosts_that_answer_for_every_attribute() -> None:
    model = nn.Sequential(Permissive())
    assert gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="0").blocks[0].path == "0.context_block"


def conv_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, channels, 1), nn.ReLU())


def test_plans_by_pattern_fit_models_of_the_same_shapes_only() -> None:
    plan = gcnet.plan(conv_relu(16), gcnet.GlobalContext.spec(ratio=1 / 4), match="1")
    other = conv_relu(32)
    with pytest.raises(ValueError, match=r"does not fit this model: .* plan again"):
        gcnet.insert(other, plan)
    assert not gcnet.status(other).blocks
    assert len(gcnet.insert(conv_relu(16), plan)) == 1


def test_a_refused_optimizer_leaves_the_model_as_it_was() -> None:
    model = conv_relu(16)
    spec = gcnet.GlobalContext.spec(ratio=1 / 4)
    with pytest.raises(TypeError, match="optimizer='sgd'"):
        gcnet.insert(model, spec, match="1", optimizer="sgd")
    optimizer = torch.optim.SGD(model.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="never learn"):
            gcnet.insert(model, spec, match="1", optimizer=optimizer)
    assert not gcnet.status(model).blocks


def test_unknown_options_and_models_that_are_none() -> None:
    spec = gcnet.GlobalContext.spec(ratio=1 / 4)
    with pytest.raises(TypeError, match="did you mean 'match'"):
        gcnet.insert(conv_relu(16), spec, mach="1")
    with pytest.raises(ValueError, match="position=''"):
        gcnet.plan(conv_relu(16), spec, match="1", position="")
    for verb in (gcnet.status, gcnet.disable, gcnet.remove, gcnet.added_parameters):
        with pytest.raises(TypeError, match="is not a built"):
            verb("resnet50")
    with pytest.raises(TypeError, match="call it first"):
        gcnet.plan(conv_relu, spec, match="1")
