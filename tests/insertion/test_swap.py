"""Blocks of other libraries replaced by ours: nothing is lost, nothing is silently wrong."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from gcnet import GlobalContext, NonLocal, SqueezeExcite, insert, swap

timm = pytest.importorskip("timm", reason="needs timm")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")
from timm.layers import GlobalContext as TimmGlobalContext  # noqa: E402
from timm.layers import SEModule  # noqa: E402
from timm.layers.non_local_attn import NonLocalAttn  # noqa: E402
from torchvision.ops import SqueezeExcitation  # noqa: E402

from gcnet.layouts import FOREIGN  # noqa: E402
from tests.layouts.test_tables import PEERS, bricks  # noqa: E402

RELATIVE = 1e-6


def randomised(model):
    """Weights, norms and statistics away from their start."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() <= 1 or parameter.shape[1:].numel() == 1:
                parameter.copy_(torch.rand_like(parameter) + (0.5 if name.endswith("weight") else -0.5))
            else:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                buffer.uniform_(-0.5, 0.5)
    return model


def features(name):
    dims = int(name[len("mmcv NonLocal")]) if name.startswith("mmcv NonLocal") else 2
    return torch.randn(2, 32, *(6, 7, 4)[:dims])


def close(found, expected, relative=RELATIVE):
    error = (found.double() - expected.double()).norm() / expected.double().norm().clamp_min(1e-30)
    return error <= relative, error.item()


def run(model, x, g):
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = model(x)
    y.backward(g)
    return y.detach(), x.grad


class Clamp(nn.Module):
    """ReLU whose backward survives the in-place division of mmcv's concatenation."""

    def forward(self, x):
        return x.clamp(min=0)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", PEERS)
def test_each_block(name, training):
    model = randomised(nn.Sequential(PEERS[name]())).train(training)
    twin = copy.deepcopy(model)
    if "concatenation" in name:
        twin[0].concat_project.activate = Clamp()
    report = swap(model)
    assert len(report) == 1
    assert type(model[0]) in (GlobalContext, NonLocal, SqueezeExcite)
    assert model[0].training is training
    x = features(name)
    with torch.no_grad():
        y, expected = copy.deepcopy(model)(x), copy.deepcopy(twin)(x)
    assert close(y, expected)[0], close(y, expected)

    # gradients are judged in float64, where rounding hides nothing; torch's hardsigmoid has a float32 derivative
    bound = 1e-6 if any(isinstance(module, nn.Hardsigmoid) for module in twin.modules()) else 1e-11
    model, twin, x = model.double(), twin.double(), x.double()
    g = torch.randn_like(x)
    for found, exact in zip(run(model, x, g), run(twin, x, g), strict=True):
        assert close(found, exact, bound)[0], close(found, exact)
    names = {f"0.{key.theirs}": f"0.{key.ours}" for key in report._pairs[0].keys}
    ours = dict(model.named_parameters()) | dict(model.named_buffers())
    for key, parameter in twin.named_parameters():
        grad = ours[names[key]].grad
        assert (grad - parameter.grad.reshape(grad.shape)).norm() <= bound * max(parameter.grad.norm(), g.norm()), key
    for key, buffer in twin.named_buffers():
        torch.testing.assert_close(ours[names[key]], buffer)


MODELS = {
    "gcresnet50t": (lambda: timm.create_model("gcresnet50t"), 16, 64),
    "gcresnext26ts": (lambda: timm.create_model("gcresnext26ts"), 8, 64),
    "seresnet18": (lambda: timm.create_model("seresnet18"), 8, 64),
    "legacy_seresnet18": (lambda: timm.create_model("legacy_seresnet18"), 8, 64),
    "resnet18 nl": (lambda: timm.create_model("resnet18", block_args={"attn_layer": "nl"}), 8, 64),
    "timm efficientnet_b0": (lambda: timm.create_model("efficientnet_b0"), 16, 64),
    "timm mobilenetv3": (lambda: timm.create_model("mobilenetv3_small_100"), 9, 64),
    "regnety_002": (lambda: timm.create_model("regnety_002"), 13, 64),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(), 9, 64),
    "efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(), 16, 64),
}


@pytest.mark.parametrize("name", MODELS)
def test_whole_models(name):
    make, count, size = MODELS[name]
    model = randomised(make()).eval()
    x = torch.randn(2, 3, size, size)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(x.double())
        single = model(x)
        report = swap(model)
        assert torch.equal(torch.get_rng_state(), random_state)
        assert len(report) == count
        assert not report.left
        found, exact = model(x), copy.deepcopy(model).double()(x.double())
    assert close(exact, expected, 1e-12)[0], close(exact, expected)
    allowed = max(RELATIVE, 2 * close(single, expected)[1])
    assert close(found, expected, allowed)[0], (close(found, expected), allowed)
    report.undo()
    after = model.state_dict()
    assert list(after) == list(state)
    assert all(torch.equal(after[key], value) for key, value in state.items())
    with torch.no_grad():
        assert torch.equal(model(x), single)


UNSUPPORTED = {
    "max pooling": (lambda: SEModule(32, add_maxpool=True), "adds max pooling"),
    "norm": (lambda: SEModule(32, norm_layer=nn.BatchNorm2d), "norm is BatchNorm2d, ours can be none"),
    "activation": (lambda: SEModule(32, act_layer=nn.GELU), "activation is GELU, ours can be relu or silu"),
    "gate": (lambda: SEModule(32, gate_layer=nn.Tanh), "gate is Tanh, ours can be sigmoid or hard_sigmoid"),
    "gc gate": (lambda: TimmGlobalContext(32, gate_layer="hard_sigmoid"), "gate is Hardsigmoid, ours can be sigmoid"),
    "gc activation": (lambda: TimmGlobalContext(32, act_layer=nn.SiLU), "activation is SiLU"),
    "gc nothing": (lambda: TimmGlobalContext(32, fuse_scale=False), "fuses nothing"),
    "gc width": (lambda: TimmGlobalContext(8), "hidden width of 1"),
    "torchvision": (lambda: SqueezeExcitation(32, 8, scale_activation=nn.Softplus), "gate is Softplus"),
    "nl norm": (lambda: bricks.NonLocal2d(32, norm_cfg={"type": "GN", "num_groups": 4}), "norm is GroupNorm"),
    "nl statistics": (
        lambda: bricks.NonLocal2d(32, norm_cfg={"type": "BN", "track_running_stats": False}),
        r"nothing for norm\.num_batches_tracked",
    ),
    "sync": (lambda: nn.SyncBatchNorm.convert_sync_batchnorm(NonLocalAttn(32)), "norm is SyncBatchNorm"),
    "weight norm": (lambda: with_weight_norm(SEModule(32)), "no counterpart|hooks"),
    "hook": (lambda: with_hook(SEModule(32)), "hooks or a patched forward"),
    "patched": (lambda: patched(SEModule(32)), "hooks or a patched forward"),
    "subclass": (lambda: Doubled(32), "Doubled has a forward of its own"),
    "changed inside": (lambda: max_pooled(SqueezeExcitation(32, 8)), "outputs are not those of SqueezeExcite"),
    "dropout": (lambda: dropping(TimmGlobalContext(32)), "outputs are not those of GlobalContext"),
}


class Doubled(SEModule):
    def forward(self, x):
        return 2 * super().forward(x)


class Named(SEModule):
    def __init__(self, channels):
        super().__init__(channels, rd_channels=4)
        self.name = "mine"


def with_weight_norm(module):
    nn.utils.parametrizations.weight_norm(module.fc1)
    return module


def with_hook(module):
    module.fc1.register_forward_hook(lambda *_: None)
    return module


def patched(module):
    module.forward = lambda x: x
    return module


def max_pooled(module):
    module.avgpool = nn.AdaptiveMaxPool2d(1)
    return module


def dropping(module):
    module.mlp_scale.drop.p = 0.5
    return module


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_ours_cannot_express_stays_and_is_listed(name):
    make, reason = UNSUPPORTED[name]
    block = make()
    model = nn.Sequential(block, SEModule(32))
    report = swap(model)
    assert model[0] is block
    assert isinstance(model[1], SqueezeExcite)
    assert [left.paths for left in report.left] == [("0",)]
    with pytest.raises(ValueError, match=f"nothing was swapped[^$]*({reason})"):
        swap(nn.Sequential(block))
    assert report.left[0].reason in str(report)
    assert "left as they are" in str(report)


def test_a_subclass_with_the_same_forward():
    model = nn.Sequential(Named(32))
    module, x = model[0], torch.randn(2, 32, 5, 5)
    expected = model(x)
    report = swap(model)
    assert close(model(x), expected)[0]
    report.undo()
    assert model[0] is module


def test_nothing_to_swap():
    with pytest.raises(ValueError, match=r"this Sequential has none .* \(timm GlobalContext, .*NonLocal3d\)$"):
        swap(nn.Sequential(nn.Conv2d(3, 8, 1)))
    model = nn.Sequential(SEModule(32))
    swap(model)
    with pytest.raises(ValueError, match="but 1 of gcnet already"):
        swap(model)
    with pytest.raises(ValueError, match=r"it is the model itself, .* wrap it in nn\.Sequential"):
        swap(SEModule(32))


def test_patterns():
    def make():
        return nn.ModuleDict({name: nn.ModuleList(nn.Sequential(SEModule(16)) for _ in range(2)) for name in "ab"})

    model = make()
    assert [block.paths for block in swap(model, "a.*.0")] == [("a.0.0",), ("a.1.0",)]
    assert isinstance(model["b"][0][0], SEModule)
    assert len(swap(make(), "**")) == 4
    assert len(swap(make(), ["a.0.*", "b.**"])) == 3
    model = make()
    with pytest.raises(ValueError, match=r"match='c\.\*' matches none of the 4 blocks .* 'a\.0\.0'"):
        swap(model, ["**", "c.*"])
    assert sum(isinstance(module, SEModule) for module in model.modules()) == 4
    with pytest.raises(ValueError, match="match= is empty"):
        swap(model, [])
    with pytest.raises(TypeError, match="takes strings"):
        swap(model, [1])


def test_report():
    report = swap(nn.Sequential(SEModule(64), TimmGlobalContext(64), SEModule(64, add_maxpool=True)))
    lines = str(report).splitlines()
    assert lines[0].split() == ["path", "was", "now", "parameters"]
    assert lines[1].split(maxsplit=3)[:3] == ["0", "timm", "SEModule"]
    assert "SqueezeExcite(64, hidden=8) " in lines[1]
    assert "GlobalContext(64, hidden=8, fusion=('scale',), norm_eps=1e-06) " in lines[2]
    assert lines[1].endswith(" 1,096")
    assert lines[3].startswith("swapped 2 blocks, 2,273 parameters; same outputs in float64 to ")
    assert lines[-1].startswith("2     timm SEModule  it adds max pooling")
    assert [block.was for block in report] == ["timm SEModule", "timm GlobalContext"]
    assert report.parameters == 2273
    assert max(block.difference for block in report) < 1e-12


def test_shared_modules_stay_shared():
    block = SEModule(16)
    model = nn.Sequential(block, nn.Sequential(block), SEModule(16))
    report = swap(model, "1.0")
    assert len(report) == 1
    assert report.swapped[0].paths == ("0", "1.0")
    assert model[0] is model[1][0]
    assert isinstance(model[0], SqueezeExcite)
    assert "0 = 1.0" in str(report)
    report.undo()
    assert model[0] is model[1][0] is block


def test_tied_parameters_are_refused():
    model = nn.Sequential(SEModule(16), SEModule(16), SEModule(16))
    model[1].fc1.weight = model[0].fc1.weight
    report = swap(model)
    assert [left.reason for left in report.left] == ["it shares parameters with another module"] * 2
    assert isinstance(model[2], SqueezeExcite)


def test_flags_follow():
    model = nn.Sequential(NonLocalAttn(16)).train()
    model[0].g.requires_grad_(False)
    model[0].norm.eval().requires_grad_(False)
    model[0].norm.eps, model[0].norm.momentum = 1e-3, None
    report = swap(model)
    ours = model[0]
    frozen = {name for name, parameter in ours.named_parameters() if not parameter.requires_grad}
    assert frozen == {"value.weight", "value.bias", "norm.weight", "norm.bias"}
    assert ours.training
    assert not ours.norm.training
    assert (ours.norm.eps, ours.norm.momentum) == (1e-3, None)
    ours.requires_grad_(True).eval()
    report.undo()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model[0].training
    assert not model[0].g.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("make", [lambda: SEModule(32), lambda: TimmGlobalContext(32), lambda: NonLocalAttn(32)])
def test_dtypes(make, dtype):
    model = randomised(nn.Sequential(make())).to(dtype).eval()
    x = torch.randn(2, 32, 6, 6, dtype=dtype)
    expected = copy.deepcopy(model).double()(x.double())
    swap(model)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model(x).dtype == dtype
    assert close(model(x), expected, 8 * torch.finfo(dtype).eps)[0], close(model(x), expected)


def test_mixed_dtypes_stay_mixed():
    model = nn.Sequential(NonLocalAttn(32).half())
    model[0].norm.float()
    swap(model)
    assert (model[0].query.weight.dtype, model[0].norm.weight.dtype) == (torch.float16, torch.float32)


def test_on_the_meta_device():
    model = nn.Sequential(NonLocalAttn(32), SEModule(32)).to("meta")
    report = swap(model)
    assert len(report) == 2
    assert all(parameter.is_meta for parameter in model.parameters())
    report.undo()
    assert isinstance(model[1], SEModule)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    model = randomised(nn.Sequential(NonLocalAttn(32), SEModule(32))).cuda().eval()
    x = torch.randn(2, 32, 6, 6, device="cuda")
    expected = copy.deepcopy(model).double()(x.double())
    swap(model)
    assert all(tensor.is_cuda for tensor in model.state_dict().values())
    assert close(model(x), expected, 1e-5)[0]


def test_undo_brings_the_present_weights_back():
    model = randomised(nn.Sequential(nn.Conv2d(3, 32, 1), NonLocalAttn(32), SEModule(32)))
    blocks = list(model)
    report = swap(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 6, 6)).square().mean().backward()
        optimizer.step()
    model.double().eval()
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    expected = model(x)
    report.undo()
    assert list(model) == blocks
    assert close(model(x), expected, 1e-12)[0]
    assert blocks[1].norm.num_batches_tracked == 2
    with pytest.raises(RuntimeError, match="undone already"):
        report.undo()
    assert len(swap(model)) == 2


def test_undo_refuses_a_model_that_moved_on():
    model = nn.Sequential(SEModule(16), SEModule(16))
    report = swap(model)
    model[1] = nn.Identity()
    with pytest.raises(RuntimeError, match="1 is no longer the block that this swap put there"):
        report.undo()
    assert isinstance(model[0], SqueezeExcite)


def test_after_the_swap_a_model_is_like_any_other():
    model = randomised(timm.create_model("seresnet18")).eval()
    x = torch.randn(1, 3, 64, 64)
    swap(model)
    expected = model(x)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), expected)
    insert(model, GlobalContext.spec(ratio=1 / 4), stages=("c4",))
    assert torch.equal(model(x), expected)


def test_hosts_of_context_blocks():
    model = nn.Sequential(nn.Conv2d(3, 16, 1), SEModule(16), SEModule(16))
    insert(model, GlobalContext.spec(ratio=1 / 4), match="1")
    report = swap(model)
    assert [block.paths for block in report] == [("2",)]
    assert report.left[0].reason.startswith("it hosts a context block")


def test_wrapped_models_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(nn.Sequential(SEModule(16)))
    with pytest.raises(RuntimeError, match=r"cannot swap .* compiled"):
        swap(compiled)


def test_a_failure_changes_nothing(monkeypatch):
    model = nn.Sequential(SEModule(16), SqueezeExcitation(16, 4))
    before = list(model)

    def broken(module):
        raise KeyError("broken")

    foreign = FOREIGN["torchvision.ops.misc.SqueezeExcitation"]
    monkeypatch.setitem(FOREIGN, foreign.name, type(foreign)(foreign.name, foreign.block, broken))
    with pytest.raises(KeyError):
        swap(model)
    assert list(model) == before


class WithTemperature(SqueezeExcitation):
    def __init__(self, *args):
        super().__init__(*args)
        self.temperature = nn.Parameter(torch.tensor(1.0))


def test_one_odd_subclass_does_not_stop_the_others():
    report = swap(nn.Sequential(SqueezeExcitation(64, 8), WithTemperature(64, 8)))
    assert [block.paths for block in report] == [("0",)]
    assert [block.paths for block in report.left] == [("1",)]


def test_undo_refuses_blocks_that_became_hosts():
    model = nn.Sequential(nn.Conv2d(3, 64, 1), SqueezeExcitation(64, 8))
    report = swap(model)
    insert(model, GlobalContext.spec(), match="1")
    with pytest.raises(RuntimeError, match=r"gcnet.remove\(model\) first"):
        report.undo()
