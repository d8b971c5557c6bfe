"""Known families: every position of every class, against hooks and against forwards written by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gcnet
from gcnet.insertion.attach import host_modules, original_class
from gcnet.insertion.families import FAMILIES, forward_owner, residual

from .nets import perturb, randomised, resnet

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

from timm.models import byobnet, regnet, res2net, resnest, resnetv2, senet, sknet  # noqa: E402
from timm.models import resnet as timm_resnet  # noqa: E402
from torchvision.models import regnet as tv_regnet  # noqa: E402
from torchvision.models import video  # noqa: E402
from torchvision.models.resnet import BasicBlock, Bottleneck  # noqa: E402

WIDTHS = (16, 32, 48, 64)
SPEC = gcnet.GlobalContext.spec(ratio=1 / 4)


def timm_net(block: Any, **options: Any) -> nn.Module:
    return timm_resnet.ResNet(
        block, (1, 1, 2, 1), num_classes=5, stem_width=8, channels=WIDTHS, zero_init_last=False, **options
    )


def byob_net(kind: str, **options: Any) -> nn.Module:
    blocks = tuple(
        byobnet.ByoBlockCfg(type=kind, d=2 if i == 2 else 1, c=width, s=2, gs=0, br=1.0, **options)
        for i, width in enumerate(WIDTHS)
    )
    config = byobnet.ByoModelCfg(blocks=blocks, stem_chs=16, attn_layer="se", self_attn_layer="bottleneck")
    return byobnet.ByobNet(config, num_classes=5, img_size=64)


def byob_attention() -> nn.Module:
    convolutions = [byobnet.ByoBlockCfg(type="bottle", d=1, c=width, s=2, gs=0, br=0.5) for width in WIDTHS[:2]]
    attention = [
        byobnet.ByoBlockCfg(type="self_attn", d=2 - i, c=width, s=2, gs=0, br=0.5) for i, width in enumerate(WIDTHS[2:])
    ]
    config = byobnet.ByoModelCfg(
        blocks=(*convolutions, *attention), stem_chs=16, self_attn_layer="bottleneck", fixed_input_size=True
    )
    return byobnet.ByobNet(config, num_classes=5, img_size=64)


def regnet_net(**options: Any) -> nn.Module:
    config = regnet.RegNetCfg(depth=5, w0=16, wa=24.0, wm=2.0, group_size=8, stem_width=16, **options)
    return regnet.RegNet(config, num_classes=5, zero_init_last=False)


def tv_regnet_net() -> nn.Module:
    params = tv_regnet.BlockParams.from_init_params(depth=5, w_0=16, w_a=16.0, w_m=2.0, group_width=8)
    return tv_regnet.RegNet(params, num_classes=5, stem_width=16)


def video_net(block: Any, conv: Any) -> nn.Module:
    return video.VideoResNet(block, [conv] * 4, [1, 1, 2, 1], video.resnet.BasicStem, num_classes=5)


def legacy_net(block: Any) -> nn.Module:
    return senet.SENet(block, (1, 1, 2, 1), groups=1, reduction=16, inplanes=64, num_classes=5)


NETS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "tv basic": ("torchvision.models.resnet.BasicBlock", lambda: resnet(BasicBlock, (1, 1, 2, 1))),
    "tv bottleneck": ("torchvision.models.resnet.Bottleneck", lambda: resnet(Bottleneck, (1, 1, 2, 1))),
    "tv regnet": ("torchvision.models.regnet.ResBottleneckBlock", tv_regnet_net),
    "video basic r3d": (
        "torchvision.models.video.resnet.BasicBlock",
        lambda: video_net(video.resnet.BasicBlock, video.resnet.Conv3DSimple),
    ),
    "video basic r2plus1d": (
        "torchvision.models.video.resnet.BasicBlock",
        lambda: video_net(video.resnet.BasicBlock, video.resnet.Conv2Plus1D),
    ),
    "video basic mc3": (
        "torchvision.models.video.resnet.BasicBlock",
        lambda: video_net(video.resnet.BasicBlock, video.resnet.Conv3DNoTemporal),
    ),
    "video bottleneck": (
        "torchvision.models.video.resnet.Bottleneck",
        lambda: video_net(video.resnet.Bottleneck, video.resnet.Conv3DSimple),
    ),
    "timm basic": ("timm.models.resnet.BasicBlock", lambda: timm_net(timm_resnet.BasicBlock)),
    "timm bottleneck": ("timm.models.resnet.Bottleneck", lambda: timm_net(timm_resnet.Bottleneck)),
    "timm bottleneck aa": (
        "timm.models.resnet.Bottleneck",
        lambda: timm_net(timm_resnet.Bottleneck, aa_layer=timm.layers.BlurPool2d, drop_path_rate=0.2),
    ),
    "timm se bottleneck": (
        "timm.models.resnet.Bottleneck",
        lambda: timm_net(timm_resnet.Bottleneck, block_args={"attn_layer": "se"}),
    ),
    "timm legacy se": ("timm.models.senet.Bottleneck", lambda: legacy_net(senet.SEResNetBottleneck)),
    "timm legacy basic": ("timm.models.senet.SEResNetBlock", lambda: legacy_net(senet.SEResNetBlock)),
    "timm sk basic": ("timm.models.sknet.SelectiveKernelBasic", lambda: timm_net(sknet.SelectiveKernelBasic)),
    "timm sk": ("timm.models.sknet.SelectiveKernelBottleneck", lambda: timm_net(sknet.SelectiveKernelBottleneck)),
    "timm res2net": ("timm.models.res2net.Bottle2neck", lambda: timm_net(res2net.Bottle2neck, base_width=26)),
    "timm resnest": ("timm.models.resnest.ResNestBottleneck", lambda: timm_net(resnest.ResNestBottleneck)),
    "timm preact": (
        "timm.models.resnetv2.PreActBottleneck",
        lambda: resnetv2.ResNetV2((1, 1, 2, 1), channels=(64, 128, 128, 128), num_classes=5, bottle_ratio=0.5),
    ),
    "timm preact basic": (
        "timm.models.resnetv2.PreActBasic",
        lambda: resnetv2.ResNetV2((1, 1, 2, 1), channels=(64, 64, 96, 96), num_classes=5, basic=True, bottle_ratio=1.0),
    ),
    "timm resnetv2": (
        "timm.models.resnetv2.Bottleneck",
        lambda: resnetv2.ResNetV2(
            (1, 1, 2, 1), channels=(64, 128, 128, 128), num_classes=5, preact=False, bottle_ratio=0.5
        ),
    ),
    "timm regnet": ("timm.models.regnet.Bottleneck", lambda: regnet_net(se_ratio=0.25)),
    "timm regnet preact": ("timm.models.regnet.PreBottleneck", lambda: regnet_net(preact=True)),
    "byob basic": ("timm.models.byobnet.BasicBlock", lambda: byob_net("basic")),
    "byob bottle": ("timm.models.byobnet.BottleneckBlock", lambda: byob_net("bottle")),
    "byob bottle twice": (
        "timm.models.byobnet.BottleneckBlock",
        lambda: byob_net("bottle", block_kwargs={"extra_conv": True}),
    ),
    "byob dark": ("timm.models.byobnet.DarkBlock", lambda: byob_net("dark")),
    "byob edge": ("timm.models.byobnet.EdgeBlock", lambda: byob_net("edge")),
    "byob rep": ("timm.models.byobnet.RepVggBlock", lambda: byob_net("rep")),
    "byob one": ("timm.models.byobnet.MobileOneBlock", lambda: byob_net("one")),
    "byob attention": ("timm.models.byobnet.SelfAttnBlock", byob_attention),
}

#: The same classes again, with other convolutions or options.
VARIANTS = {"video basic r2plus1d", "video basic mc3", "timm bottleneck aa", "byob bottle twice", "timm legacy basic"}

MATRIX = [(name, position) for name, (cls, _) in NETS.items() for position in FAMILIES[cls].positions]


def build(name: str) -> nn.Module:
    torch.manual_seed(3)
    return randomised(NETS[name][1]()).eval()


def input_for(name: str) -> Tensor:
    shape = (2, 3, 4, 16, 16) if name.startswith("video") else (2, 3, 64, 64)
    return torch.randn(shape, generator=torch.Generator().manual_seed(4))


def test_every_family_is_tried() -> None:
    assert {cls for cls, _ in NETS.values()} == set(FAMILIES)


@pytest.mark.parametrize(
    ("name", "position"),
    [
        pytest.param(*pair, marks=pytest.mark.slow) if pair[0] in VARIANTS and pair[1] != "after_3x3" else pair
        for pair in MATRIX
    ],
)
def test_position(name: str, position: str) -> None:
    """Identity in eval and train mode, the same as hooks once perturbed, and nothing left after removal."""
    model, x = build(name), input_for(name)
    stock = copy.deepcopy(model)
    plan = gcnet.plan(model, SPEC, stages="c4", position=position)
    assert {site.position for site in plan} == {position}
    classes = {path: type(module) for path, module in model.named_modules()}
    known = FAMILIES[NETS[name][0]]
    assert all(residual(original_class(host_modules(model)[site.path])) is known for site in plan)

    gcnet.insert(model, plan)
    with torch.no_grad():
        assert torch.equal(model(x), stock(x))
        for module in (model.train(), stock.train()):
            torch.manual_seed(5)
            module.trained = module(x)
        assert torch.equal(model.trained, stock.trained)
        model.eval(), stock.eval()
        before = stock(x)

        perturb(model)
        blocks = {site.path: model.get_submodule(f"{site.path}.{site.name}") for site in plan}
        y = model(x)
        assert not torch.allclose(y, before)
        with_hooks(stock, blocks, position)
        assert torch.equal(y, stock(x))

        gcnet.remove(model)
        assert {path: type(module) for path, module in model.named_modules()} == classes
        assert torch.equal(model(x), before)


def with_hooks(stock: nn.Module, blocks: dict[str, nn.Module], position: str) -> None:
    """Apply ``blocks`` to an untouched model by hooks on the modules that the table names."""
    for path, block in blocks.items():
        host = stock.get_submodule(path)
        known = residual(type(host))
        assert known is not None
        if position == "after_block":
            host.register_forward_hook(lambda module, args, y, block=block: block(y))
            continue
        anchor = known.anchors[position]
        calls: list[int] = []
        host.register_forward_pre_hook(lambda module, args, calls=calls: calls.clear())

        looped = isinstance(host, res2net.Bottle2neck) and anchor.nth == 3
        turn = host.num_scales + 2 if looped else anchor.nth

        def due(calls: list[int] = calls, nth: int | None = turn) -> bool:
            calls.append(1)
            return nth is None or len(calls) == nth

        target = host.get_submodule(anchor.call)
        if anchor.side == "after":
            target.register_forward_hook(lambda module, args, y, due=due, block=block: block(y) if due() else None)
        else:
            target.register_forward_pre_hook(lambda module, args, due=due, block=block: block(*args) if due() else None)


def _tv_bottleneck(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    out = m.relu(m.bn1(m.conv1(x)))
    out = at("after_3x3", m.relu(m.bn2(m.conv2(out))))
    out = at("after_1x1", m.bn3(m.conv3(out)))
    out = at("after_add", out + (x if m.downsample is None else m.downsample(x)))
    return at("after_block", out.relu())


def _tv_basic(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    out = at("after_3x3", m.bn1(m.conv1(x)).relu())
    out = at("after_1x1", m.bn2(m.conv2(out)))
    out = at("after_add", out + (x if m.downsample is None else m.downsample(x)))
    return at("after_block", out.relu())


def _timm_bottleneck(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    out = m.bn1(m.conv1(x)).relu()
    out = at("after_3x3", m.aa(m.bn2(m.conv2(out)).relu()))
    out = at("after_1x1", m.bn3(m.conv3(out)))
    out = out if m.se is None else m.se(out)
    out = at("after_add", out + (x if m.downsample is None else m.downsample(x)))
    return at("after_block", out.relu())


def _regnet_bottleneck(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    out = m.se(at("after_3x3", m.conv2(m.conv1(x))))
    out = at("after_1x1", m.conv3.bn(m.conv3.conv(out)))
    out = at("after_add", out + m.downsample(x))
    return at("after_block", out.relu())


def _preact_bottleneck(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    start = m.norm1(x)
    shortcut = x if m.downsample is None else m.downsample(start)
    out = m.conv2(m.norm2(m.conv1(start)))
    out = at("after_1x1", m.conv3(at("after_3x3", m.norm3(out))))
    return at("after_block", out + shortcut)


def _video_bottleneck(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    out = at("after_3x3", m.conv2(m.conv1(x)))
    out = at("after_1x1", m.conv3(out))
    out = at("after_add", out + (x if m.downsample is None else m.downsample(x)))
    return at("after_block", out.relu())


def _resnest(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    out = m.conv2(m.bn1(m.conv1(x)).relu())
    out = at("after_3x3", out)
    out = out if m.avd_last is None else m.avd_last(out)
    out = at("after_1x1", m.bn3(m.conv3(out)))
    out = at("after_add", out + (x if m.downsample is None else m.downsample(x)))
    return at("after_block", out.relu())


def _byob_bottle(m: Any, x: Tensor, at: Callable[[str, Tensor], Tensor]) -> Tensor:
    out = at("after_3x3", m.conv2_kxk(m.conv1_1x1(x)))
    out = m.attn_last(at("after_1x1", m.conv3_1x1(m.attn(out))))
    out = at("after_add", out + m.shortcut(x))
    return at("after_block", out.relu())


BY_HAND = {
    "tv basic": _tv_basic,
    "tv bottleneck": _tv_bottleneck,
    "timm bottleneck": _timm_bottleneck,
    "timm se bottleneck": _timm_bottleneck,
    "timm regnet": _regnet_bottleneck,
    "timm preact": _preact_bottleneck,
    "video bottleneck": _video_bottleneck,
    "timm resnest": _resnest,
    "byob bottle": _byob_bottle,
}


@pytest.mark.parametrize(("name", "position"), [pair for pair in MATRIX if pair[0] in BY_HAND])
def test_against_a_forward_written_by_hand(name: str, position: str) -> None:
    model = build(name)
    gcnet.insert(model, SPEC, stages="c4", position=position)
    perturb(model)
    block = next(m for path, m in model.named_modules() if path.endswith("context_block"))
    path = next(path.removesuffix(".context_block") for path, m in model.named_modules() if m is block)
    host = model.get_submodule(path)
    seen: list[Tensor] = []
    host.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    host.register_forward_hook(lambda module, args, y: seen.append(y.clone()))
    with torch.no_grad():
        model(input_for(name))
        expected = BY_HAND[name](host, seen[0], lambda where, y: block(y) if where == position else y)
    torch.testing.assert_close(seen[1], expected)


def test_repvgg_keeps_its_block_through_reparameterisation() -> None:
    model, x = build("byob rep"), input_for("byob rep")
    gcnet.insert(model, SPEC, stages=("c4", "c5"))
    perturb(model)
    with torch.no_grad():
        before = model(x)
        for module in model.modules():
            if hasattr(module, "reparameterize"):
                module.reparameterize()
        torch.testing.assert_close(model(x), before, rtol=1e-3, atol=1e-4)
    fresh = build("byob rep")
    for module in fresh.modules():
        if hasattr(module, "reparameterize"):
            module.reparameterize()
    assert len(gcnet.plan(fresh, SPEC, stages="c4")) == 2


def test_default_position_is_the_end_of_the_branch() -> None:
    assert gcnet.plan(build("tv basic"), SPEC, stages="c4").sites[0].position == "after_1x1"
    assert gcnet.plan(build("byob rep"), SPEC, stages="c4").sites[0].position == "after_add"


@pytest.mark.parametrize("name", ["timm preact", "byob dark"])
def test_a_position_that_a_class_cannot_offer(name: str) -> None:
    position = "after_add" if name == "timm preact" else "after_3x3"
    with pytest.raises(ValueError, match=rf"position='{position}' is not possible .* offers 'after_1x1'"):
        gcnet.plan(build(name), SPEC, stages="c4", position=position)


def test_a_subclass_with_its_own_forward_is_not_known() -> None:
    class Own(Bottleneck):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    class Same(Bottleneck):
        pass

    assert residual(Own) is None
    assert residual(Same) is FAMILIES["torchvision.models.resnet.Bottleneck"]
    assert forward_owner(Same) is Bottleneck


def test_genet_has_its_fifth_stage_in_c5() -> None:
    with torch.device("meta"):
        model = timm.create_model("gernet_s")
    sites = gcnet.plan(model, SPEC, stages="c5")
    assert {site.path.rpartition(".")[0] for site in sites} == {"stages.3", "stages.4"}


@pytest.mark.parametrize(
    "name",
    [
        "resnet50",
        "seresnet50",
        "resnetv2_50",
        "regnety_002",
        "res2net50_26w_4s",
        "resnest14d",
        "resnext26ts",
        "skresnet18",
    ],
)
def test_pretrained_sizes_on_meta(name: str) -> None:
    """Channels out of the table are those of the timm models, on the meta device."""
    with torch.device("meta"):
        model = timm.create_model(name)
    widths = [info["num_chs"] for info in model.feature_info][1:]
    for stage, width in zip(("c2", "c3", "c4", "c5"), widths, strict=True):
        plan = gcnet.plan(model, SPEC, stages=stage)
        assert {site.channels for site in plan} == {width}
    gcnet.insert(model, SPEC, stages=("c3", "c4", "c5"))
    assert all(parameter.is_meta for parameter in gcnet.added_parameters(model))


@pytest.mark.parametrize("builder", ["fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn"])
def test_detection_backbones(builder: str) -> None:
    with torch.device("meta"):
        model = getattr(torchvision.models.detection, builder)(weights=None, weights_backbone=None)
    plan = gcnet.plan(model, SPEC, stages=("c3", "c4", "c5"))
    assert len(plan) == 13
    assert plan.sites[0].path == "backbone.body.layer2.0"
    assert plan.sites[-1].channels == 2048
