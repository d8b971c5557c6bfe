"""Measuring sites: guesses, examples, and a model that stays untouched."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gcnet
from gcnet.insertion.probe import Seen, measure

from .nets import Plain, resnet


def sites(*paths: str) -> list[tuple[str, str]]:
    return [(path, "after_block") for path in paths]


@pytest.mark.parametrize(("dims", "size"), [(1, (1024,)), (2, (224, 224)), (3, (16, 112, 112))])
def test_inputs_are_guessed_from_the_first_convolution(dims: int, size: tuple[int, ...]) -> None:
    assert measure(Plain(dims), sites("units.0")) == [Seen(16, size)]


def test_the_example_counts() -> None:
    example = torch.empty(1, 3, 20, 24)
    assert measure(Plain(), sites("units.1"), example) == [Seen(16, (20, 24))]
    assert measure(Plain(), sites("units.1"), (example,)) == [Seen(16, (20, 24))]
    assert measure(Plain(), sites("units.1"), {"x": example}) == [Seen(16, (20, 24))]


def test_positions_inside_a_block() -> None:
    model = resnet()
    both = [("layer3.0", "after_3x3"), ("layer3.0", "after_1x1")]
    assert measure(model, both, torch.empty(1, 3, 64, 64)) == [Seen(256, (4, 4)), Seen(1024, (4, 4))]


def test_several_sizes_are_tried() -> None:
    class Small(Plain):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] != 32:
                raise RuntimeError("32 only")
            return super().forward(x)

    assert measure(Small(), sites("units.0")) == [Seen(16, (32, 32))]


def test_no_size_works() -> None:
    class Never(Plain):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("not with me")

    with pytest.raises(ValueError, match=r"inputs tried \(\[2, 3, 224, 224\], .*not with me. Pass example="):
        measure(Never(), sites("units.0"))
    with pytest.raises(ValueError, match=r"does not run on example=: not with me"):
        measure(Never(), sites("units.0"), torch.empty(1, 3, 8, 8))
    with pytest.raises(ValueError, match="no convolution to tell its input from; pass example="):
        measure(nn.Sequential(nn.ReLU()), sites("0"))


def test_models_that_branch_on_values_run_for_real() -> None:
    class Branching(Plain):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * 2 if x.mean().item() > 0 else x)

    assert measure(Branching(), sites("units.0"), torch.ones(1, 3, 8, 8)) == [Seen(16, (8, 8))]


class Touchy(Plain):
    """Everything a forward can leave behind."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.loose = torch.ones(1)
        self.log: list[int] = []
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.log.append(len(x))
        x = x + torch.rand(()) + random.random()
        return super().forward(self.drop(x) * self.loose)


@pytest.mark.parametrize("branching", [False, True], ids=["fake", "real"])
def test_nothing_is_touched(branching: bool) -> None:
    class Model(Touchy):
        def forward(self, x: Tensor) -> Tensor:
            if branching and x.sum().item() < 0:
                raise RuntimeError
            return super().forward(x)

    model = Model().train()
    fired: list[str] = []
    model.units[0].register_forward_hook(lambda *_: fired.append("forward"))
    model.register_forward_pre_hook(lambda *_: fired.append("pre"))
    hooks = len(model.units[0]._forward_hooks)
    state, classes = copy.deepcopy(model.state_dict()), [type(m) for m in model.modules()]
    torch_state, python_state = torch.get_rng_state(), random.getstate()

    gcnet.plan(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="units.*", example=torch.ones(2, 3, 8, 8))

    assert (fired, model.log) == ([], [])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [type(m) for m in model.modules()] == classes
    assert all(module.training for module in model.modules())
    assert len(model.units[0]._forward_hooks) == hooks
    assert type(model.loose) is Tensor


def test_weight_norm_by_hooks_can_be_copied() -> None:
    model = Plain()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model.units[1][0])
    model(torch.randn(1, 3, 8, 8))
    assert measure(model, sites("units.1")) == [Seen(16, (224, 224))]


def test_meta_models() -> None:
    assert measure(Plain().to("meta"), sites("units.1")) == [Seen(16, (224, 224))]
    assert measure(Plain().to("meta"), sites("units.1"), torch.empty(1, 3, 8, 8, device="meta")) == [Seen(16, (8, 8))]


class Odd(nn.Module):
    """A convolution whose output is bent into something else."""

    def __init__(self, bend: Any, repeat: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.odd = Bent(bend)
        self.unused = nn.ReLU()
        self.repeat = repeat

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for _ in range(self.repeat):
            y = self.odd(x)
        return y


class Bent(nn.Module):
    def __init__(self, bend: Any) -> None:
        super().__init__()
        self.bend = bend
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        return self.bend(x)


@pytest.mark.parametrize(
    ("model", "site", "message"),
    [
        (Odd(lambda x: x), "unused", r"'unused' \(ReLU\) is never called"),
        (Odd(lambda x: x, repeat=2), "odd", "called 2 times in one forward pass; one block cannot serve both"),
        (Odd(lambda x: (x, x)), "odd", "returns a tuple, not one tensor"),
        (Odd(lambda x: {"out": x}), "odd", "returns a dict, not one tensor"),
        (Odd(lambda x: x.flatten(2).mT), "odd", r"returns \[2, 50176, 16\], .* tokens \[N, L, C\]"),
        (Odd(lambda x: x.mean((2, 3))), "odd", r"returns \[2, 16\], which is not \[N, C, \*spatial\]"),
        (Odd(lambda x: x[:, :, None]), "odd", r"returns \[2, 16, 1, 224, 224\]"),
        (Odd(lambda x: x.permute(0, 2, 3, 1)), "odd", r"channels-last, \[N, \*spatial, C\]: axis 1 is a spatial one"),
    ],
)
def test_sites_that_are_no_feature_maps(model: nn.Module, site: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(model, sites(site))


def test_channels_last_of_a_model_with_one_input_size() -> None:
    class Fixed(Odd):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] != 224:
                raise RuntimeError("224 only")
            return super().forward(x)

    with pytest.raises(ValueError, match="channels-last"):
        measure(Fixed(lambda x: x.permute(0, 2, 3, 1)), sites("odd"))
    assert measure(Fixed(lambda x: x), sites("odd")) == [Seen(16, (224, 224))]


def test_detectors_are_probed_at_their_backbone() -> None:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Plain()
            self.roi = nn.Conv2d(16, 4, 1)

        def forward(self, images: list[Tensor]) -> Tensor:
            raise RuntimeError("needs a list of images")

    assert measure(Detector(), sites("backbone.units.2")) == [Seen(16, (224, 224))]
    with pytest.raises(ValueError, match="needs a list of images"):
        measure(Detector(), sites("roi"))


def test_timm_models_say_their_input_size() -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model("test_convnext")
    assert model.default_cfg["input_size"] == (3, 160, 160)
    assert measure(model, sites("stages.0.blocks.0"))[0].spatial == (40, 40)


def test_models_that_keep_tensors_with_a_graph() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU())
    model.kept = [model(torch.randn(1, 3, 4, 4))]
    spec = gcnet.GlobalContext.spec(ratio=1 / 4)
    assert gcnet.plan(model, spec, match="1").sites[0].channels == 16
    assert gcnet.plan(model, spec, match="1", example=torch.randn(1, 3, 4, 4)).sites[0].spatial == (4, 4)


def test_a_shape_is_an_example() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU())
    plan = gcnet.plan(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="1", example=(1, 3, 32, 24))
    assert plan.sites[0].spatial == (32, 24)
