"""Blocks that take over shortcut and ReLU: the same outputs, whatever is done to the host, and clear refusals."""

from __future__ import annotations

import ast
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.modules.module import register_module_forward_hook

import gcnet
from gcnet.insertion.attach import Place, context_class, restore
from gcnet.insertion.epilogue import Epilogue, join
from gcnet.insertion.families import FAMILIES

from .nets import BasicBlock, Bottleneck, image, perturb, resnet
from .test_families import NETS, build, input_for, timm_net

SPEC = gcnet.GlobalContext.spec(ratio=1 / 8, fusion=("add", "scale"))


def pair(model: nn.Module, stages: Any = ("c3", "c4"), spec: gcnet.BlockSpec = SPEC) -> tuple[nn.Module, nn.Module]:
    """The model with perturbed fused blocks, and a copy with the same blocks and nothing fused."""
    plain = copy.deepcopy(model)
    gcnet.insert(model, spec, stages=stages, fuse_residual=True)
    gcnet.insert(plain, spec, stages=stages)
    perturb(model)
    plain.load_state_dict(model.state_dict())
    return model, plain


def check_equal(fused: nn.Module, plain: nn.Module, x: Tensor) -> None:
    outputs = []
    for model in (fused, plain):
        torch.manual_seed(5)
        with torch.no_grad():
            outputs.append(model(x))
    assert torch.equal(*outputs)


def fused(model: nn.Module) -> list[str | None]:
    return [block.fused for block in gcnet.status(model)]


# outputs


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float64", "channels_last"])
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_outputs_are_those_without_fusion(block: type[nn.Module], kind: str) -> None:
    models, x = pair(resnet(block)), image()
    form = {"memory_format": torch.channels_last} if kind == "channels_last" else {"dtype": getattr(torch, kind)}
    x = x.to(**form)
    for model in models:
        model.to(**form)
    check_equal(*models, x)
    for model in models:
        model.train()
    check_equal(*models, x)


@pytest.mark.parametrize(
    "spec",
    [
        gcnet.SqueezeExcite.spec(),
        gcnet.SimplifiedNonLocal.spec(),
        gcnet.ContextBlock.spec(ratio=1 / 8),
        gcnet.CBAM.spec(),
    ],
    ids=lambda spec: spec.block.__name__,
)
def test_every_kind_of_block(spec: gcnet.BlockSpec) -> None:
    check_equal(*pair(resnet(), spec=spec), image())


@pytest.mark.parametrize("name", [name for name, (cls, _) in NETS.items() if FAMILIES[cls].epilogue])
def test_every_family(name: str) -> None:
    stages, model = ("c4", "c5"), build(name)
    if name == "timm se bottleneck":
        with pytest.raises(ValueError, match=r"'layer3.0' \(Bottleneck\): se \(SEModule\) stands between"):
            gcnet.plan(model, SPEC, stages=stages, fuse_residual=True)
        return
    host, x = copy.deepcopy(model), input_for(name)
    models = pair(model, stages)
    check_equal(*models, x)
    assert set(fused(models[0])) == {"yes"}
    with gcnet.disabled(models[0]):
        check_equal(models[0], host, x)
    for module in models:
        module.train()
    check_equal(*models, x)


def test_gradients() -> None:
    models = [model.train().double() for model in pair(resnet(BasicBlock))]
    for model in models:
        model(image().double()).square().sum().backward()
    for (name, one), two in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-8, atol=1e-8, msg=name)


def test_a_shortcut_of_another_dtype() -> None:
    """Under autocast a branch may be narrower than its shortcut; the sum in place has the dtype of the branch."""
    models = pair(resnet(BasicBlock), "c2")
    x = torch.randn(2, 64, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        outputs = [
            layer(x) for layer in (models[0].layer1, models[1].layer1, torch.fx.symbolic_trace(models[0].layer1))
        ]
    assert outputs[0].dtype == torch.bfloat16
    assert all(torch.equal(outputs[0], output) for output in outputs)


def test_a_host_with_more_blocks() -> None:
    models = pair(resnet())
    for model in models:
        for position in ("after_3x3", "after_block"):
            gcnet.insert(model, gcnet.SqueezeExcite.spec(), stages="c4", position=position)
    perturb(models[0])
    models[1].load_state_dict(models[0].state_dict())
    check_equal(*models, image())
    assert fused(models[0]) == ["yes", "yes", "yes", None, None, "yes", None, None]


# what happens to the host afterwards


def test_the_relu_is_left_to_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = pair(resnet())
    calls: list[nn.Module] = []
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: calls.append(self) or torch.relu(x))

    def count(model: nn.Module) -> int:
        calls.clear()
        model(image())
        return sum(relu is model.layer2[0].relu for relu in calls)

    assert (count(model), count(plain)) == (2, 3)
    gcnet.disable(model)
    assert count(model) == 3


def _silu(host: Any) -> None:
    host.relu = nn.SiLU()


def _relu(host: Any) -> None:
    host.relu = nn.ReLU(inplace=True)


def _clipped(host: Any) -> None:
    host.relu = nn.ReLU6(inplace=True)


def _leaky(host: Any) -> None:
    host.relu = nn.LeakyReLU()


def _derived(host: Any) -> None:
    host.relu = type("Doubled", (nn.ReLU,), {"forward": lambda self, x: 2 * torch.relu(x)})()


def _patched(host: Any) -> None:
    host.relu.forward = lambda x: x.clamp(0, 1)


def _doubling_hook(host: Any) -> None:
    host.relu.register_forward_hook(lambda module, args, y: 2 * y)


def _doubling_pre_hook(host: Any) -> None:
    host.relu.register_forward_pre_hook(lambda module, args: 2 * args[0])


def _hook_on_the_block(host: Any) -> None:
    host.context_block.register_forward_hook(lambda module, args, y: 2 * y)


def _patched_block(host: Any) -> None:
    host.context_block.forward = lambda x: 2 * x


def _wrapped_block(host: Any) -> None:
    host.context_block = checkpoint_wrapper(host.context_block)


CHANGES = [
    (_silu, "no: relu is a SiLU, not a ReLU"),
    (_leaky, "no: relu is a LeakyReLU, not a ReLU"),
    (_derived, "no: relu is a Doubled, not a ReLU"),
    (_patched, "no: relu has hooks or a patched forward"),
    (_doubling_hook, "no: relu has hooks or a patched forward"),
    (_doubling_pre_hook, "no: relu has hooks or a patched forward"),
    (_hook_on_the_block, "no: the block has hooks or a patched forward"),
    (_patched_block, "no: the block has hooks or a patched forward"),
    (_wrapped_block, "no: the block is a CheckpointWrapper"),
]


@pytest.mark.parametrize(("change", "state"), CHANGES, ids=lambda value: getattr(value, "__name__", ""))
def test_changes_after_insertion_are_heeded(change: Callable[[Any], None], state: str) -> None:
    models = pair(resnet())
    before = models[0](image())
    for model in models:
        change(model.layer2[0])
    check_equal(*models, image())
    if change is not _wrapped_block:
        assert not torch.equal(models[0](image()), before)
        assert fused(models[0]) == [state, "yes", "yes", "yes"]


def test_hooks_see_every_call() -> None:
    models, seen = pair(resnet()), []
    for model in models:
        calls: list[str] = []
        hooks = [register_module_forward_hook(lambda m, args, y, calls=calls: calls.append(type(m).__name__))]
        model(image())
        hooks.pop().remove()
        seen.append(calls)
    assert seen[0] == seen[1]
    assert fused(models[0]) == ["yes"] * 4


def test_a_relu_out_of_place_is_one() -> None:
    models = pair(resnet())
    for model in models:
        model.layer2[0].relu = nn.ReLU()
    check_equal(*models, image())
    assert set(fused(models[0])) == {"yes"}


@torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)  # else the compiler overlooks hooks that come later
def test_compiled_models_heed_changes() -> None:
    torch._dynamo.reset()
    models = pair(resnet(layers=(1, 1, 1, 1)))
    compiled = torch.compile(models[0], fullgraph=True, backend="eager")
    check_equal(compiled, models[1], image())
    for change in (_silu, _clipped, _relu, _doubling_hook):
        for model in models:
            change(model.layer2[0])
        check_equal(compiled, models[1], image())


def test_drop_path_is_heeded_while_it_drops() -> None:
    timm_resnet = pytest.importorskip("timm.models.resnet")
    models = pair(timm_net(timm_resnet.Bottleneck, drop_path_rate=0.5).eval(), ("c4", "c5"))
    check_equal(*models, image())
    assert set(fused(models[0])) == {"yes"}
    for model in models:
        model.train()
    check_equal(*models, image())
    assert set(fused(models[0])) == {"no: drop_path (DropPath) is active in training"}


def test_attention_that_is_added_later_is_heeded() -> None:
    timm_resnet = pytest.importorskip("timm.models.resnet")
    models = pair(timm_net(timm_resnet.BasicBlock).eval(), "c5")
    attention = gcnet.SqueezeExcite(64, ratio=1 / 4)
    for model in models:
        model.layer4[0].se = attention
    check_equal(*models, image())
    assert fused(models[0]) == ["no: se (SqueezeExcite) stands between the branch and the addition"]


# planning


def test_the_plan_and_the_status_tell() -> None:
    model = resnet(layers=(1, 1, 1, 1))
    plan = gcnet.plan(model, SPEC, stages="c4", fuse_residual=True)
    assert str(plan).splitlines()[-1] == "shortcut and ReLU of each host are taken over by its block"
    assert [site.fuse_residual for site in plan] == [True]
    report = gcnet.insert(model, plan)
    assert str(report).splitlines()[0].endswith("parameters  shortcut fused")
    gcnet.insert(model, SPEC, stages="c5")
    assert [line.split()[-1] for line in str(gcnet.status(model)).splitlines()[:3]] == ["fused", "yes", "yes"]
    assert fused(model) == ["yes", None]
    gcnet.disable(model)
    assert "no: the block is disabled" in str(gcnet.status(model))
    assert fused(model)[0] == "no: the block is disabled"
    gcnet.remove(model)
    assert {type(model.layer3[0]), type(model.layer4[0])} == {Bottleneck}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"match": "layer3.*"}, ValueError, r"goes with stages=, .* leave it out with match="),
        ({"match": "layer3.*", "position": "after_1x1"}, ValueError, "leave it out with match="),
        ({"stages": "c4", "position": "after_add"}, ValueError, "position='after_1x1', .* not with 'after_add'"),
        (
            {"stages": "c4", "position": "after_block"},
            ValueError,
            "'after_block'; leave it out for 'layer3.0'",
        ),
    ],
)
def test_refused_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gcnet.plan(resnet(), SPEC, **options, fuse_residual=True)
    with pytest.raises(TypeError, match="fuse_residual='yes' must be True or False"):
        gcnet.plan(resnet(), SPEC, **options, fuse_residual="yes")


@pytest.mark.parametrize("first", [{"position": "after_add"}, {"fuse_residual": True}])
def test_a_block_between_shortcut_and_relu_excludes_fusion(first: dict[str, Any]) -> None:
    model = resnet()
    gcnet.insert(model, SPEC, stages="c4", **first)
    second = {"fuse_residual": True} if "position" in first else {"position": "after_add"}
    with pytest.raises(ValueError, match="with a block after_add, which lies between"):
        gcnet.insert(model, SPEC, stages="c4", **second)
    assert len(gcnet.status(model)) == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"act_layer": nn.SiLU}, "act3 is a SiLU, not a ReLU"),
        ({"block_args": {"attn_layer": "eca"}}, r"se \(EcaModule\) stands between the branch and the addition"),
        (
            {"block_args": {"attn_layer": "se"}, "act_layer": nn.LeakyReLU},
            r"se \(SEModule\) stands .* addition; act3 is a LeakyReLU, not a ReLU",
        ),
    ],
)
def test_hosts_that_do_not_end_with_shortcut_and_relu(options: dict[str, Any], reason: str) -> None:
    timm_resnet = pytest.importorskip("timm.models.resnet")
    model = timm_net(timm_resnet.Bottleneck, **options)
    with pytest.raises(ValueError, match=rf"not possible in 'layer3.0' \(Bottleneck\): {reason}\. Leave it out"):
        gcnet.plan(model, SPEC, stages="c4", fuse_residual=True)
    assert len(gcnet.plan(model, SPEC, stages="c4")) == 2


@pytest.mark.parametrize("name", ["tv regnet", "timm regnet", "timm preact", "byob bottle", "timm legacy se"])
def test_classes_that_end_in_another_way(name: str) -> None:
    with pytest.raises(ValueError, match=r"in a way that gcnet knows; it is in .* torchvision.models.resnet, "):
        gcnet.plan(build(name), SPEC, stages="c4", position="after_1x1", fuse_residual=True)


def test_a_plan_does_not_fit_another_activation() -> None:
    plan, other = gcnet.plan(resnet(), SPEC, stages="c4", fuse_residual=True), resnet()
    other.layer3[1].relu = nn.SiLU()
    with pytest.raises(ValueError, match=r"'layer3.1' \(Bottleneck\): relu is a SiLU"):
        gcnet.insert(other, plan)
    assert not gcnet.status(other).blocks


# files


def test_places_of_older_files_have_two_elements() -> None:
    module = restore(Bottleneck, (("after_1x1", "context_block"),), Bottleneck, (16, 4))
    assert type(module) is context_class(Bottleneck, (Place("after_1x1", "context_block"),))


def test_fusion_survives_files() -> None:
    model, plain = pair(resnet())
    assert set(fused(pickle.loads(pickle.dumps(model)))) == {"yes"}
    check_equal(pickle.loads(pickle.dumps(model)), plain, image())


# the rewriting

FORWARD = """
def forward(self, x):
    shortcut = x
    x = self.conv(x)
    if self.se is not None:
        x = self.se(x)
    if self.down is not None:
        shortcut = self.down(shortcut)
    x += shortcut
    x = self.relu(x)
    return x
"""


def rewritten(source: str) -> str:
    """The source with the block after ``conv`` joined to an end as ``Epilogue("relu", ("se",))`` says."""
    definition: Any = ast.parse(source).body[0]
    calls = [node for node in ast.walk(definition) if isinstance(node, ast.Call)]
    (conv,) = (call for call in calls if ast.unparse(call.func) == "self.conv")
    join(definition, conv, Epilogue("relu", ("se",)), "block", "forward")
    return ast.unparse(ast.fix_missing_locations(definition))


def test_the_rewritten_source() -> None:
    assert rewritten(FORWARD).splitlines()[2:] == [
        "    x = self.conv(x)",
        "    fuses_block = self.fuses_context('block')",
        "    if not fuses_block:",
        "        x = self.apply_context('block', x)",
        "    if self.se is not None:",
        "        x = self.se(x)",
        "    if self.down is not None:",
        "        shortcut = self.down(shortcut)",
        "    if fuses_block:",
        "        x = self.apply_context_residual('block', x, shortcut)",
        "    else:",
        "        x += shortcut",
        "        x = self.relu(x)",
        "    return x",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    x += shortcut", "    x = self.layer_scale(x)\n    x += shortcut"),
        ("    if self.se is not None:\n        x = self.se(x)\n", ""),
        ("        x = self.se(x)", "        x = self.se(x)\n    else:\n        x = 2 * x"),
        ("        x = self.se(x)", "        x = self.se(x) * 2"),
        ("    x = self.relu(x)", "    shortcut = x\n    x = self.relu(x)"),
        ("    x = self.relu(x)", "    y = self.relu(x)"),
        ("    x = self.relu(x)", "    x = self.relu(x, True)"),
        ("    x = self.relu(x)", "    x = self.act(x)"),
        ("    x = self.relu(x)\n    return x", "    return self.relu(x)"),
        ("    x += shortcut", "    x -= shortcut"),
        ("    x += shortcut", "    x += x"),
        ("    x += shortcut", "    x += 2 * shortcut"),
        ("    x += shortcut", "    x = x + shortcut"),
        ("    x += shortcut", "    if shortcut is not None:\n        x += shortcut"),
        ("    x = self.conv(x)", "    x = self.conv(x)\n    kept = x"),
        ("    x = self.conv(x)", "    x = kept = self.conv(x)"),
        ("    x = self.conv(x)", "    x = 2 * self.conv(x)"),
        ("    x = self.conv(x)", "    x, y = self.conv(x)"),
        ("    x = self.conv(x)", "    self.x = self.conv(x)"),
        ("    x = self.conv(x)", "    if self.deep:\n        x = self.conv(x)"),
        ("        shortcut = self.down(shortcut)", "        shortcut = self.down(x)"),
    ],
)
def test_forwards_that_are_not_as_expected(old: str, new: str) -> None:
    assert FORWARD.count(old) == 1
    with pytest.raises(
        ValueError, match=r"forward is not as expected: self.conv\(x\) should be followed by .*self.relu"
    ):
        rewritten(FORWARD.replace(old, new))


def test_a_class_that_is_not_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version of a library with another step in its forward."""
    monkeypatch.setitem(FAMILIES, f"{__name__}.Changed", FAMILIES["torchvision.models.resnet.BasicBlock"])
    model = nn.ModuleDict({"layer3": nn.Sequential(Changed(16, 16))})
    assert len(gcnet.plan(model, SPEC, stages="c4")) == 1
    with pytest.raises(ValueError, match=r"Changed.forward is not as expected: self.bn2\(.* should be followed by"):
        gcnet.plan(model, SPEC, stages="c4", fuse_residual=True)


class Changed(BasicBlock):
    """As torchvision's, but for a scaled branch."""

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = 0.5 * out
        out += identity
        out = self.relu(out)
        return out  # noqa: RET504
