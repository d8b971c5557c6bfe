"""Whatever is done to a modified model, its blocks, perturbed away from identity, still apply."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.optimization import fuse
from torch.nn.utils import fuse_conv_bn_eval
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import gcnet

from ..blocks.cases import CASES, Case
from .nets import BasicBlock, Plain, image, modified, perturb, resnet

POSITIONS = ("after_1x1", "after_3x3", "after_add", "after_block")
#: Options of insertion that make different forwards: each position, and shortcut and ReLU taken over by the block.
FORMS: dict[str, dict[str, Any]] = {position: {"position": position} for position in POSITIONS}
FORMS["fused"] = {"fuse_residual": True}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
EXACT = [case for case in CASES if case.block.can_be_identity]


def each_case(cases: list[Case] = CASES) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    """A ResNet with perturbed blocks at every position of the four, or fused, one per test."""
    return modified(stages=("c3", "c4"), **request.param)


def output(model: nn.Module, x: Tensor | None = None) -> Tensor:
    with torch.no_grad():
        return model(image() if x is None else x)


def check_applied(model: nn.Module, other: nn.Module, *, exact: bool = True) -> None:
    """``other`` computes what ``model`` does, which is not what the host alone does."""
    y = output(model)
    with gcnet.disabled(model):
        assert not torch.allclose(y, output(model), rtol=1e-3)
    if exact:
        assert torch.equal(output(other), y)
    else:
        torch.testing.assert_close(output(other), y, rtol=1e-4, atol=1e-4)


# identity, disabling and removal


@each_case(EXACT)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
def test_identity_at_insertion(case: Case, training: bool, fused: bool) -> None:
    model = resnet(BasicBlock, (1, 1, 1, 1)).train(training)
    base = copy.deepcopy(model)
    report = gcnet.insert(model, case.spec(), stages=("c2", "c4"), fuse_residual=fused)
    assert not report.changes_output
    torch.manual_seed(7)
    y = output(model)
    torch.manual_seed(7)
    assert torch.equal(y, output(base))


@each_form
@pytest.mark.parametrize("kind", ["bfloat16", "channels_last"])
def test_identity_in_other_forms(form: dict[str, Any], kind: str) -> None:
    model, x = resnet(), image()
    if kind == "channels_last":
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    else:
        model, x = model.to(getattr(torch, kind)), x.to(getattr(torch, kind))
    before = output(model, x)
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 8, fusion=("add", "scale")), stages="c4", **form)
    assert torch.equal(output(model, x), before)
    assert output(model, x).dtype == before.dtype


@each_case()
def test_perturbed_then_disabled_then_removed(case: Case) -> None:
    model = resnet(BasicBlock, (1, 1, 1, 1))
    classes, keys, before = _classes(model), list(model.state_dict()), output(model)
    gcnet.insert(model, case.spec(), stages="c4")
    perturb(model)
    assert not torch.allclose(output(model), before)
    with gcnet.disabled(model):
        assert torch.equal(output(model), before)
    gcnet.remove(model)
    assert torch.equal(output(model), before)
    assert (_classes(model), list(model.state_dict())) == (classes, keys)


def _classes(model: nn.Module) -> dict[str, type]:
    return {path: type(module) for path, module in model.named_modules()}


@each_case()
def test_every_block_learns(case: Case) -> None:
    """Each added parameter gets a gradient tensor, and some of each block a non-zero one at once."""
    model = resnet(BasicBlock, (1, 1, 1, 1)).train()
    gcnet.insert(model, case.spec(), stages="c4", blocks=0)
    model(image()).square().sum().backward()
    gradients = [parameter.grad for parameter in gcnet.added_parameters(model)]
    assert all(gradient is not None for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_names_of_the_host_stay() -> None:
    model = resnet()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    buffers = dict(model.named_buffers())
    modules = dict(model.named_modules())
    modified(model)
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in parameters.items())
    assert all(dict(model.named_buffers())[name] is buffer for name, buffer in buffers.items())
    assert all(model.get_submodule(path) is module for path, module in modules.items())
    new = [key for key in model.state_dict() if key not in state]
    assert new == list(gcnet.added_state_dict(model))
    assert all(".context_block." in key for key in new)
    loaded = model.load_state_dict(state, strict=False)
    assert (sorted(loaded.missing_keys), loaded.unexpected_keys) == (sorted(new), [])


# copies and files


def test_deepcopy(model: nn.Module) -> None:
    copied = copy.deepcopy(model)
    check_applied(model, copied)
    blocks = {id(parameter) for parameter in gcnet.added_parameters(model)}
    assert all(id(parameter) not in blocks for parameter in gcnet.added_parameters(copied))


def test_pickle(model: nn.Module) -> None:
    check_applied(model, pickle.loads(pickle.dumps(model)))


@pytest.mark.parametrize("protocol", [2, 5])
def test_pickle_of_containers_and_disabled_blocks(protocol: int) -> None:
    model = modified(Plain(), match="units.*").eval()
    model.units[0].context_block.enabled = False
    copied = pickle.loads(pickle.dumps(model, protocol))
    assert torch.equal(output(copied), output(model))
    assert [block.enabled for block in gcnet.status(copied)] == [False, True, True]


@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
def test_save_and_load_in_a_fresh_process(tmp_path: Path, fused: bool) -> None:
    model = modified(stages=("c3", "c4"), fuse_residual=fused)
    torch.save(model, tmp_path / "model.pt")
    torch.save((image(), output(model)), tmp_path / "expected.pt")
    program = (
        "import sys, torch\n"
        "model = torch.load(sys.argv[1] + '/model.pt', weights_only=False)\n"
        "x, y = torch.load(sys.argv[1] + '/expected.pt')\n"
        "torch.testing.assert_close(model(x), y)\n"
        "import gcnet\n"
        "assert len(gcnet.status(model)) == 4\n"
        "gcnet.remove(model)\n"
        "print(type(model.layer2[0]).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Bottleneck", done.stderr


def test_averaged_model(model: nn.Module) -> None:
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    averaged.update_parameters(model)
    check_applied(model, averaged.eval())


# conversions


def test_sync_batchnorm(model: nn.Module) -> None:
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())
    check_applied(model, converted, exact=False)


def test_sync_batchnorm_inside_the_block() -> None:
    model = modified(spec=gcnet.NonLocal.spec(norm=True), stages="c4")
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    block = converted.layer3[0].context_block
    assert any(isinstance(module, nn.SyncBatchNorm) for module in block.modules())


def test_batchnorm_folding_by_fx(model: nn.Module) -> None:
    folded = fuse(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    check_applied(model, folded, exact=False)


def test_batchnorm_folding_by_hand(model: nn.Module) -> None:
    folded = copy.deepcopy(model)
    for module in folded.modules():
        for number in ("1", "2", "3"):
            conv, norm = getattr(module, f"conv{number}", None), getattr(module, f"bn{number}", None)
            if conv is not None and norm is not None:
                setattr(module, f"conv{number}", fuse_conv_bn_eval(conv, norm))
                setattr(module, f"bn{number}", nn.Identity())
    check_applied(model, folded, exact=False)


def test_functional_call(model: nn.Module) -> None:
    check_applied(model, lambda x: functional_call(model, dict(model.named_parameters()), (x,)))
    zeroed = {name: torch.zeros_like(p) for name, p in gcnet.added_parameters(model, named=True)}
    with torch.no_grad():
        base = functional_call(model, zeroed, (image(),))
    with gcnet.disabled(model):
        assert torch.equal(base, output(model))


# tracers and compilers


@each_form
def test_compile(form: dict[str, Any]) -> None:
    torch._dynamo.reset()
    model = modified(resnet(layers=(1, 1, 1, 1)), stages=("c3",), **form)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    check_applied(model, compiled)
    with gcnet.disabled(compiled):
        assert torch.equal(output(compiled), output(model))
    check_applied(model, compiled)


def test_compile_with_containers() -> None:
    torch._dynamo.reset()
    model = modified(Plain(), match="units.*").eval()
    check_applied(model, torch.compile(model, fullgraph=True, backend="eager"))


@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
def test_compile_for_training(fused: bool) -> None:
    torch._dynamo.reset()
    model = modified(resnet(layers=(1, 1, 1, 1)), stages=("c3",), fuse_residual=fused).train()
    other = copy.deepcopy(model)
    model(image()).sum().backward()
    torch.compile(other, fullgraph=True, backend="aot_eager")(image()).sum().backward()
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
def test_compile_inductor(fused: bool) -> None:
    torch._dynamo.reset()
    model = modified(resnet(layers=(1, 1, 1, 1)), stages=("c3",), fuse_residual=fused)
    check_applied(model, torch.compile(model, fullgraph=True), exact=False)


@each_form
def test_export_with_dynamic_batch_and_size(form: dict[str, Any]) -> None:
    model = modified(resnet(layers=(1, 1, 1, 1)), stages=("c3",), **form)
    size = torch.export.Dim("size", min=1, max=16)
    shapes = ({0: torch.export.Dim("batch", min=1, max=64), 2: 32 * size, 3: 32 * size},)
    program = torch.export.export(model, (image(),), dynamic_shapes=shapes)
    check_applied(model, program.module(), exact=False)
    x = torch.randn(3, 3, 96, 96)
    torch.testing.assert_close(output(program.module(), x), output(model, x), rtol=1e-4, atol=1e-4)


def test_export_with_containers() -> None:
    model = modified(Plain(), match="units.*").eval()
    check_applied(model, torch.export.export(model, (image(),)).module(), exact=False)


def test_fx_trace(model: nn.Module) -> None:
    check_applied(model, torch.fx.symbolic_trace(model))


def test_fx_trace_with_containers() -> None:
    model = modified(Plain(), match="units.*").eval()
    check_applied(model, torch.fx.symbolic_trace(model))


def test_feature_extraction(model: nn.Module) -> None:
    extraction = pytest.importorskip("torchvision.models.feature_extraction")
    extractor = extraction.create_feature_extractor(model, {"layer3": "map", "fc": "scores"})
    check_applied(model, lambda x: extractor(x)["scores"])
    seen: list[Tensor] = []
    model.layer3.register_forward_hook(lambda module, args, y: seen.append(y))
    output(model)
    assert torch.equal(extractor(image())["map"], seen[0])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
def test_jit_trace(fused: bool) -> None:
    model = modified(stages=("c3", "c4"), fuse_residual=fused)
    check_applied(model, torch.jit.trace(model, image()), exact=False)


def test_forward_hooks(model: nn.Module) -> None:
    seen: dict[str, Tensor] = {}
    block, host = model.layer3[0].context_block, model.layer3[0]
    block.register_forward_hook(lambda module, args, y: seen.update(block=y.clone(), given=args[0].clone()))
    host.register_forward_hook(lambda module, args, y: seen.update(host=y.clone()))
    host.bn3.register_forward_hook(lambda module, args, y: seen.update(norm=y.clone()))
    output(model)
    assert not torch.equal(seen["block"], seen["given"])
    assert set(seen) == {"block", "given", "host", "norm"}


def test_moves_with_the_model() -> None:
    model = modified().double()
    assert all(parameter.dtype == torch.float64 for parameter in gcnet.added_parameters(model))
    assert all(parameter.is_meta for parameter in gcnet.added_parameters(model.to("meta")))
    assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.train().modules())


@pytest.mark.parametrize("fused", [False, True], ids=["", "fused"])
def test_checkpointed_branches_recompute_the_block(fused: bool) -> None:
    timm_resnet = pytest.importorskip("timm.models.resnet")
    net = timm_resnet.ResNet(timm_resnet.Bottleneck, (1, 1, 2, 1), num_classes=5, channels=(16, 32, 48, 64))
    model = modified(net, stages="c4", fuse_residual=fused).train()
    other = copy.deepcopy(model)
    other.set_grad_checkpointing()
    model(image()).sum().backward()
    other(image()).sum().backward()
    for one, two in zip(gcnet.added_parameters(model), gcnet.added_parameters(other), strict=True):
        torch.testing.assert_close(two.grad, one.grad)


def test_state_dict_round_trip_through_a_buffer(model: nn.Module) -> None:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other = resnet()
    block = gcnet.status(model).blocks[0]
    form = {"position": block.position, "fuse_residual": block.fused is not None}
    gcnet.insert(other, gcnet.GlobalContext.spec(ratio=1 / 8), stages=("c3", "c4"), **form)
    other.load_state_dict(torch.load(buffer))
    check_applied(model, other)
