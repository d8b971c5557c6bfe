"""The dry run: sites, tables, models of every kind, and errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gcnet

from .nets import Plain, image, perturb, randomised, resnet

SPEC = gcnet.GlobalContext.spec(ratio=1 / 4)


def test_the_paper_block_and_its_table() -> None:
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        model = torchvision.models.resnet50()
    spec = gcnet.GlobalContext.spec(ratio=1 / 16)
    plan = gcnet.plan(model, spec, stages="c4", blocks=-2, example=torch.empty(1, 3, 224, 224))
    assert str(plan).splitlines() == [
        "GlobalContext.spec(ratio=1/16, init='identity', gate='centred')",
        "stage  path                    position   channels  map    parameters",
        "c4     layer3.4.context_block  after_1x1     1,024  14x14     133,313",
        "1 block, 133,313 parameters added, output unchanged at the start",
    ]
    everywhere = gcnet.plan(model, spec, stages=("c3", "c4", "c5"))
    assert (len(everywhere), everywhere.parameters) == (13, 2_521_741)
    assert all(site.spatial is None for site in everywhere)
    assert "map" not in str(everywhere)


def test_plans_are_values() -> None:
    plan = gcnet.plan(resnet(), SPEC, stages="c5")
    (site,) = plan
    with pytest.raises(FrozenInstanceError):
        plan.sites = ()
    assert json.loads(json.dumps(plan.to_dict()))["sites"][0] == {
        "path": "layer4.0",
        "position": "after_1x1",
        "name": "context_block",
        "stage": "c5",
        "channels": 2048,
        "dims": 2,
        "spatial": None,
        "parameters": site.parameters,
        "fuse_residual": False,
    }
    assert site.parameters == SPEC.parameter_count(2048)
    assert replace(plan, sites=()).parameters == 0


def test_planning_changes_nothing() -> None:
    model = resnet()
    before = (repr(model), list(model.state_dict()))
    gcnet.plan(model, SPEC, stages=("c3", "c4"), example=image())
    gcnet.plan(model, SPEC, match="layer*.*")
    assert (repr(model), list(model.state_dict())) == before


def torchvision_model(name: str, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        return getattr(pytest.importorskip("torchvision").models, name)(**options)

    return make


def timm_model(name: str) -> Callable[[], nn.Module]:
    return lambda: pytest.importorskip("timm").create_model(name)


QUICK = {
    "convnext timm": (timm_model("test_convnext"), "stages.*.blocks.*"),
    "efficientnet timm": (timm_model("test_efficientnet"), "blocks.*.*"),
    "mobilenet v3": (torchvision_model("mobilenet_v3_small"), "features.*"),
    "regnet by blocks": (timm_model("regnetx_002"), "s?.b*"),
    "regnet stages that walk over children": (timm_model("regnetx_002"), "s?"),
    "resnet stages": (torchvision_model("resnet18"), "layer*"),
    "1d": (lambda: Plain(1), "units.*"),
    "2d": (lambda: Plain(2), "units.*"),
    "3d": (lambda: Plain(3), "units.*"),
}
SLOW = {
    "vgg": (torchvision_model("vgg11_bn"), ["features.2", "features.6"]),
    "vgg features": (torchvision_model("vgg11_bn"), "features"),
    "convnext": (torchvision_model("convnext_tiny"), "features.[1357].*"),
    "efficientnet": (torchvision_model("efficientnet_b0"), "features.[1-7].*"),
    "mobilenet v2": (torchvision_model("mobilenet_v2"), "features.*"),
    "densenet": (torchvision_model("densenet121"), "features.denseblock*"),
    "densenet layers": (torchvision_model("densenet121"), "features.denseblock[12].denselayer*"),
    "densenet timm": (timm_model("densenet121"), ["features.denseblock*", "features.transition*"]),
    "regnet": (torchvision_model("regnet_x_400mf"), "trunk_output.block*"),
    "shufflenet": (torchvision_model("shufflenet_v2_x0_5"), "stage*.*"),
    "googlenet": (torchvision_model("googlenet", init_weights=False, aux_logits=False), "inception*"),
}


@pytest.mark.parametrize(
    ("make", "match"),
    [pytest.param(*case, id=name) for name, case in QUICK.items()]
    + [pytest.param(*case, id=name, marks=pytest.mark.slow) for name, case in SLOW.items()],
)
def test_any_model_by_pattern(make: Callable[[], nn.Module], match: Any) -> None:
    model = randomised(make()).eval()
    dims = next(m.weight.dim() - 2 for m in model.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d)))
    x = image(64 if dims == 2 else 8, dims=dims)
    plan = gcnet.plan(model, SPEC, match=match)
    assert {site.dims for site in plan} == {dims}
    stock = copy.deepcopy(model)
    with torch.no_grad():
        before = stock(x)
        gcnet.insert(model, plan)
        assert torch.equal(model(x), before)
        perturb(model)
        for site in plan:
            block = model.get_submodule(f"{site.path}.{site.name}")
            stock.get_submodule(site.path).register_forward_hook(lambda m, args, y, block=block: block(y))
        assert torch.equal(model(x), stock(x))
        assert not torch.allclose(model(x), before)
        gcnet.remove(model)
        assert torch.equal(model(x), before)


@pytest.mark.parametrize("name", ["test_vit", "mambaout_femto"])
def test_models_whose_blocks_are_no_feature_maps(name: str) -> None:
    with torch.device("meta"):
        model = pytest.importorskip("timm").create_model(name)
    with pytest.raises(ValueError, match=r"tokens|channels-last"):
        gcnet.plan(model, SPEC, match=["blocks.*"] if name == "test_vit" else "stages.*.blocks.*")


def test_detection_sites_outside_the_residual_blocks() -> None:
    detection = pytest.importorskip("torchvision.models.detection")
    with torch.device("meta"):
        model = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    plan = gcnet.plan(model, SPEC, match="backbone.fpn.layer_blocks.*")
    assert [site.channels for site in plan] == [256] * 4


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (gcnet.GlobalContext.spec(), False),
        (gcnet.GlobalContext.spec(init="published"), False),
        (gcnet.GlobalContext.spec(init="published", fusion="scale"), True),
        (gcnet.SqueezeExcite.spec(init="published"), True),
        (gcnet.CBAM.spec(), False),
        (gcnet.SelectiveKernel.spec(), True),
    ],
)
def test_whether_the_output_changes(spec: gcnet.BlockSpec, changes: bool) -> None:
    model, x = resnet(), image()
    before = model(x)
    state = torch.get_rng_state()
    plan = gcnet.plan(model, spec, stages="c4")
    assert torch.equal(torch.get_rng_state(), state)
    assert plan.changes_output is changes
    report = gcnet.insert(model, plan)
    assert torch.equal(model(x), before) is not changes
    assert ("the output of the model changes" in str(report)) is changes


def shared() -> nn.Module:
    model = Plain()
    model.units.append(model.units[0])
    return model


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (Plain(), {"stages": "c4"}, ValueError, r"no stages of residual blocks that gcnet knows; use match="),
        (Plain(), {}, ValueError, r"use match= with a pattern; this model has 'units.\*' \(3 x Sequential\)"),
        (resnet(), {}, ValueError, "say where: stages="),
        (resnet(), {"stages": "c4", "match": "layer3.*"}, ValueError, "leave stages= and blocks= out"),
        (resnet(), {"match": "layer3.*", "blocks": 1}, ValueError, "leave stages= and blocks= out"),
        (resnet(), {"stages": "c4", "position": "after_2x2"}, ValueError, "position='after_2x2' is not one of"),
        (shared(), {"match": "units.[01]"}, ValueError, "'units.0' and 'units.3' are one shared module"),
        (Plain(), {"match": "units"}, ValueError, "no forward and is never called"),
        (Plain(), {"match": "units.*.1"}, ValueError, "BatchNorm2d, which SyncBN conversion"),
        (Plain(), {"match": "head"}, ValueError, r"returns \[2, 4\]"),
    ],
)
def test_errors(model: nn.Module, options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        gcnet.plan(model, SPEC, **options)


@pytest.mark.parametrize("spec", [gcnet.GlobalContext, gcnet.GlobalContext(8, ratio=1 / 4), "gc"])
def test_a_spec_that_is_none(spec: Any) -> None:
    with pytest.raises(TypeError, match=r"write it as GlobalContext.spec\(ratio=1/16\)"):
        gcnet.plan(resnet(), spec, stages="c4")


def test_a_ratio_that_is_too_small_for_the_site() -> None:
    with pytest.raises(ValueError, match="smallest valid ratio for 16 channels"):
        gcnet.plan(Plain(), gcnet.GlobalContext.spec(ratio=1 / 64), match="units.*")


def test_known_blocks_found_by_pattern_offer_their_positions() -> None:
    plan = gcnet.plan(resnet(), SPEC, match="layer3.*", position="after_3x3")
    assert [(site.position, site.channels) for site in plan] == [("after_3x3", 256)] * 2
    assert gcnet.plan(resnet(), SPEC, match="layer3.*").sites[0].position == "after_block"


def test_a_model_nobody_saw() -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 12, 3)
            self.paths = nn.ModuleDict({"wide": nn.Conv2d(12, 24, 3), "narrow": nn.Conv2d(12, 6, 3)})

        def forward(self, image: Tensor, *, which: str) -> Tensor:
            return self.paths[which](self.first(image))

    model, example = Strange(), {"image": torch.zeros(1, 1, 9, 9), "which": "wide"}
    with pytest.raises(ValueError, match="Pass example="):
        gcnet.plan(model, SPEC, match="paths.wide")
    assert gcnet.plan(model, SPEC, match="paths.wide", example=example).sites[0].spatial == (5, 5)
    with pytest.raises(ValueError, match=r"'paths.narrow' \(Conv2d\) is never called"):
        gcnet.plan(model, SPEC, match="paths.*", example=example)
