import json
import random

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from gcnet import GlobalContext, NonLocal, SimplifiedNonLocal, SqueezeExcite
from gcnet.analysis import cost
from gcnet.models import mask_rcnn, resnet50, slow_only_r50

P, C = 12 * 10, 64


def _map(channels=C, batch=1):
    return (batch, channels, 12, 10)


@pytest.mark.parametrize("channels", [256, 512, 1024, 2048])
def test_parameter_formulas_of_the_paper(channels):
    c = channels
    assert NonLocal.spec().parameter_count(c) == 2 * c * c + 5 * c // 2
    assert SimplifiedNonLocal.spec().parameter_count(c) == c * c + 2 * c + 1
    for r in (4, 8, 16, 32):
        full = 2 * c * c // r + 2 * c + 3 * c // r + 1
        assert GlobalContext.spec(ratio=1 / r).parameter_count(c) == full
        assert GlobalContext.spec(ratio=1 / r, fusion=("scale",)).parameter_count(c) == full
        assert GlobalContext.spec(ratio=1 / r, pooling="average").parameter_count(c) == full - (c + 1)
        assert GlobalContext.spec(ratio=1 / r, norm=False).parameter_count(c) == full - 2 * c // r


@pytest.mark.parametrize(
    ("block", "macs"),
    [
        (GlobalContext(C), 2 * P * C + 2 * C * C // 16),
        (GlobalContext(C, ratio=1 / 4, pooling="average"), 2 * C * C // 4),
        (SimplifiedNonLocal(C), 2 * P * C + C * C),
        (SqueezeExcite(C), 2 * C * C // 16),
        (NonLocal(C), 4 * P * C * C // 2 + 2 * P * P * C // 2),
        (NonLocal(C, subsample="before"), (2 * P + 2 * P // 4) * C * C // 2 + 2 * P * P // 4 * C // 2),
        (NonLocal(C, subsample="after"), 4 * P * C * C // 2 + 2 * P * P // 4 * C // 2),
        # the cheaper order of the products, a map where it is small, and sorting, which multiplies nothing
        (NonLocal(C, pairwise="dot_product"), 4 * P * C * C // 2 + 2 * P * (C // 2) ** 2),
        (NonLocal(C, 8, pairwise="dot_product"), 4 * P * C * 8 * C + 2 * P * P * 8 * C),
        (NonLocal(C, pairwise="concatenation"), 4 * P * C * C // 2 + (2 + P) * P * C // 2),
    ],
)
def test_multiply_adds_of_a_block_are_the_analytic_figure(block, macs):
    assert cost(block, _map()).macs == macs
    assert cost(block.to("meta"), _map(batch=3)).macs == 3 * macs


@pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian"])
def test_softmax_maps_are_counted_at_every_size_and_on_every_device(pairwise):
    block, positions = NonLocal(16, pairwise=pairwise), 80 * 80
    found = cost(block, (1, 16, 80, 80))
    assert found == cost(block.to("meta"), (1, 16, 80, 80))
    products = positions**2 * ((16 if pairwise == "gaussian" else 8) + 8)
    assert found.macs == (2 if pairwise == "gaussian" else 4) * positions * 16 * 8 + products
    assert found.activation_bytes > positions**2 * 4
    assert not found.uncounted
    assert cost(block, (1, 16, 300, 300)).macs > 300**4


def test_the_cheap_forms_are_counted_as_they_run():
    linear = [cost(NonLocal(16, pairwise=p), (1, 16, 80, 80)) for p in ("dot_product", "concatenation")]
    assert all(found.macs < 80**2 * 5000 and found.activation_bytes < 80**2 * 4 * 2000 for found in linear)
    assert not any(found.uncounted for found in linear)


def test_host_and_blocks_add_up():
    model = nn.Sequential(nn.Conv2d(3, C, 1), GlobalContext(C), nn.Sequential(nn.ReLU(inplace=True), GlobalContext(C)))
    found = cost(model, (2, 3, 12, 10))
    assert [(block.path, block.type) for block in found.blocks] == [("1", "GlobalContext"), ("2.1", "GlobalContext")]
    assert found.host.params == 4 * C
    assert found.host.macs == 2 * P * 3 * C
    assert found.host.activation_bytes == 2 * P * C * 4
    for name in ("params", "macs", "activation_bytes"):
        parts = (found.host, *found.blocks)
        assert getattr(found, name) == sum(getattr(part, name) for part in parts) == getattr(found.modules[""], name)
    assert found.modules["2"].macs == found.modules["2.1"].macs
    assert json.loads(json.dumps(found.to_dict()))["blocks"][1]["path"] == "2.1"
    assert str(found).splitlines()[-1].startswith("total")


def test_activation_bytes_follow_the_dtype_and_see_inside_a_block():
    relu = nn.ReLU()
    assert cost(relu, torch.empty(1, 8, 4, 4, dtype=torch.float16)).activation_bytes == 8 * 16 * 2
    assert cost(nn.Flatten(), torch.empty(1, 8, 4, 4)).activation_bytes == 0
    assert cost(NonLocal(C), _map()).activation_bytes > P * P * 4


def test_the_published_figures():
    assert cost(resnet50(stride_in_1x1=True, device="meta"), (1, 3, 224, 224)).macs == 3_857_973_248
    assert cost(resnet50(device="meta"), (1, 3, 224, 224)).macs == 4_089_184_256
    assert cost(slow_only_r50(device="meta"), (1, 3, 8, 224, 224)).macs == 41_740_828_672


def test_the_answer_does_not_depend_on_the_device():
    assert cost(resnet50(), (1, 3, 64, 64)) == cost(resnet50(device="meta"), (1, 3, 64, 64))


def test_detectors_are_counted_on_fixed_numbers_of_boxes():
    found = cost(mask_rcnn(resnet50(device="meta")), (1, 3, 800, 1280))
    assert found.params == 44_400_693
    assert found.macs == 259_340_375_040
    parts = ("backbone", "rpn", "roi_heads")
    assert found.macs == sum(found.modules[part].macs for part in parts)
    assert found.modules["roi_heads.box_predictor"].macs == 1000 * 1024 * (81 + 4 * 81)
    assert found.modules["roi_heads.mask_predictor"].macs == 100 * 14 * 14 * (256 * 256 * 4 + 4 * 256 * 81)
    with torch.device("meta"):
        retina = get_model("retinanet_resnet50_fpn", weights=None, weights_backbone=None)
    found = cost(retina, (1, 3, 128, 128))
    assert found.host.type == "RetinaNet"
    assert found.macs == found.modules["backbone"].macs + found.modules["head"].macs > 0


def _state(model):
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()]
    return hooks, [m.training for m in model.modules()], [type(m) for m in model.modules()]


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, C, 3), nn.BatchNorm2d(C), GlobalContext(C), nn.Dropout(0.5)).train()
    model[1].eval()
    tensors = {name: (value, value.clone(), value._version) for name, value in model.state_dict(keep_vars=True).items()}
    state, rng, python_rng = _state(model), torch.get_rng_state(), random.getstate()
    cost(model, torch.randn(2, 3, 12, 10, generator=torch.Generator().manual_seed(0)))
    assert _state(model) == state
    assert torch.equal(torch.get_rng_state(), rng)
    assert random.getstate() == python_rng
    for name, value in model.state_dict(keep_vars=True).items():
        before, copy, version = tensors[name]
        assert value is before
        assert value._version == version
        assert torch.equal(value, copy)
        assert value.grad is None
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


def test_the_model_is_restored_after_an_error():
    model = nn.Sequential(nn.Conv2d(3, C, 3)).train()
    with pytest.raises(ValueError, match="does not run"):
        cost(model, (1, 4, 12, 10))
    assert all(module.training for module in model.modules())
    assert not nn.modules.module._global_forward_hooks
    assert torch.backends.mha.get_fastpath_enabled()


class _Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, 7, dtype=torch.float64))

    def forward(self, a, b):
        return a @ self.weight + b


def test_every_form_of_input():
    a, b = torch.ones(3, 5, dtype=torch.float64), torch.ones(7, dtype=torch.float64)
    for given in ((a, b), [a, b], {"a": a, "b": b}):
        assert cost(_Two(), given).macs == 3 * 5 * 7
    assert cost(_Two(), (a[0], b)).macs == 5 * 7
    assert cost(nn.Linear(5, 7).double(), torch.Size((3, 5))).activation_bytes == 3 * 7 * 8
    with pytest.raises(TypeError, match=r"a shape such as \(1, 3, 224, 224\).* got str"):
        cost(nn.Linear(5, 7), "3x5")


def test_shared_and_repeated_modules():
    layer = nn.Linear(8, 8, bias=False)
    found = cost(nn.Sequential(layer, nn.ReLU(), layer), (2, 8))
    assert found.params == 64
    assert found.macs == 2 * 2 * 64
    assert found.modules["0"].macs == found.macs


def test_transformers_are_counted_whole_and_unknown_operations_are_named():
    layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True)
    assert cost(layer, (1, 10, 16)).macs == 10 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 10 * 10 * 16
    found = cost(nn.LSTM(8, 8), (5, 2, 8))
    assert found.uncounted
    assert "not counted: aten." in str(found)


def test_compiled_models_are_counted():
    model = resnet50(device="meta")
    assert cost(torch.compile(model), (1, 3, 64, 64)) == cost(model, (1, 3, 64, 64))


class _Catches(nn.Module):
    """Tries a layer that does not fit, and goes on without it."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.odd = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(5, 8, 1)

    def forward(self, x):
        y = self.b(self.a(x))
        try:
            return self.odd(x)
        except RuntimeError:
            return y


def test_errors_that_a_model_catches():
    assert cost(_Catches(), (1, 3, 4, 4)).macs == 16 * (3 * 8 + 8 * 8)


class _Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def test_less_common_products():
    batches = torch.ones(8, 6, 6)
    assert cost(_Calls(torch.addbmm), (torch.ones(6, 6), batches, batches)).macs == 8 * 6**3
    for function in (torch.linalg.inv, torch.fft.fft2):
        assert cost(_Calls(function), (torch.eye(4),)).uncounted


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (3, 8)])
def test_inputs_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"Sequential does not run on an input of \["):
        cost(nn.Sequential(nn.Conv2d(3, 8, 1)), shape)
    with pytest.raises(ValueError, match="negative"):
        cost(nn.Conv2d(3, 8, 1), (1, 3, -1, 4))
