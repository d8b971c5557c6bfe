"""Attention in code of others: fused, laid out, masked, in windows."""

import functools

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as attend_under_another_name

import gcnet
from tests.analysis.capture import captured_unchanged


class Attend(nn.Module):
    """Queries, keys and values through one call."""

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, **self.options)


class ByHand(nn.Module):
    """The same with a map, multiplied in one of the ways there are."""

    def __init__(self, product):
        super().__init__()
        self.product = product
        self.dropout = nn.Dropout(0.3)

    def forward(self, query, key, value):
        weights = (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(dim=-1)
        return self.product(self.dropout(weights).to(value.dtype), value)


MASKS = {
    "": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.7},
    "allowed": {"attn_mask": torch.ones(5, 7).tril(3).bool()},
    "added": {"attn_mask": torch.randn(2, 1, 1, 7)},
    "per_head": {"attn_mask": torch.randn(4, 5, 7)},
    "expanded": {"attn_mask": torch.randn(1, 1, 5, 7).expand(2, 4, 5, 7)},
    "nothing_left": {"attn_mask": torch.zeros(5, 7, dtype=torch.bool)},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS)
def test_scaled_dot_product_attention(options, dtype):
    mask = options.get("attn_mask")
    if mask is not None and mask.dtype != torch.bool:
        options = {"attn_mask": mask.to(dtype)}
    query, key, value = (torch.randn(2, 4, length, 8).to(dtype) for length in (5, 7, 7))
    record = captured_unchanged(Attend(**options), lambda net: net(query, key, value))[""]
    wide = {name: t.double() if torch.is_tensor(t) and t.dtype != torch.bool else t for name, t in options.items()}
    eye = torch.eye(7, dtype=torch.float64).expand(2, 4, 7, 7)  # values that show the map
    weights = F.scaled_dot_product_attention(query.double(), key.double(), eye, **wide)
    torch.testing.assert_close(record.attention.double(), weights, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(record.output.double(), weights @ value.double(), rtol=1e-5, atol=1e-5)
    assert record.attention.dtype == torch.promote_types(dtype, torch.float32)
    assert record.source.mask is None or record.source.mask.numel() <= mask.numel()
    assert (record.size, record.key_size) == ((5,), (7,))
    with gcnet.capture(net := Attend(**options), queries=[(0.5,), (1.0,)]) as maps:
        net(query, key, value)
    torch.testing.assert_close(maps[""].attention, record.rows([2, 4]))
    torch.testing.assert_close(maps[""].output, record.output[:, :, [2, 4]])


def test_an_expanded_mask_is_kept_once():
    mask = torch.randn(1, 1, 5, 7).expand(2, 4, 5, 7)
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 4, 7, 8)
    record = captured_unchanged(Attend(attn_mask=mask), lambda net: net(query, key, key))[""]
    assert record.source.mask.shape == (1, 1, 5, 7)


def test_heads_that_share_keys():
    query, key, value = torch.randn(2, 6, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 4)
    record = captured_unchanged(Attend(enable_gqa=True), lambda net: net(query, key, value))[""]
    weights = (query @ key.repeat_interleave(2, 1).mT / 8**0.5).softmax(3)
    torch.testing.assert_close(record.attention, weights)
    torch.testing.assert_close(record.output, weights @ value.repeat_interleave(2, 1))
    assert record.key.shape[1] == 3


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("product", [torch.matmul, torch.Tensor.matmul, lambda a, b: a @ b, torch.bmm])
def test_attention_by_hand(product, training):
    heads = () if product is torch.bmm else (4,)
    query, key, value = (torch.randn(2, *heads, length, 8) for length in (5, 7, 7))
    net = ByHand(product).train(training)
    record = captured_unchanged(net, lambda net: net(query, key, value))[""]
    weights = (query @ key.mT / 8**0.5).softmax(-1).reshape(2, -1, 5, 7)
    torch.testing.assert_close(record.attention, weights)
    torch.testing.assert_close(record.output, weights @ value.reshape(2, -1, 7, 8))
    assert record.query is None


def test_a_softmax_that_weighs_nothing_is_no_attention():
    class Classifier(nn.Module):
        def forward(self, x):
            return F.softmax(x, dim=-1).square() @ x

    x = torch.randn(2, 3, 3)
    net = Classifier()
    with pytest.raises(ValueError, match="nothing was captured: none of ''"), gcnet.capture(net):
        net(x)


def test_a_softmax_over_a_table_that_samples_share_is_no_attention():
    class Codebook(nn.Module):
        def forward(self, x):
            return F.softmax(x, dim=-1) @ torch.eye(8)

    net = nn.Sequential(Codebook(), gcnet.NonLocal(3))
    assert [*captured_unchanged(net, lambda net: net(torch.ones(2, 3, 8)))] == ["1"]


def wrapped(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@wrapped
def attend_within(x):
    return F.scaled_dot_product_attention(x, x, x)


class OtherName(nn.Module):
    def forward(self, x):
        return attend_under_another_name(x, x, x)


class Wrapped(nn.Module):
    def forward(self, x):
        return attend_within(x)


@pytest.mark.parametrize("module", [OtherName, Wrapped])
def test_functions_under_other_names_and_wrapped(module):
    x = torch.randn(2, 1, 5, 8)
    assert captured_unchanged(module(), lambda net: net(x))[""].attention.shape == (2, 1, 5, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_of_half_precision_are_distributions(dtype):
    query, key, value = (torch.randn(2, 4, 300, 8).to(dtype) for _ in range(3))
    record = captured_unchanged(ByHand(torch.matmul).eval(), lambda net: net(query, key, value))[""]
    torch.testing.assert_close(record.attention.sum(3), torch.ones(2, 4, 300), rtol=0, atol=1e-6)


class Picture(nn.Module):
    """Attention between the positions of a picture, with heads in the batch, or between its channels."""

    def __init__(self, between, fused):
        super().__init__()
        self.stem, self.attend = nn.Conv2d(3, 24, 4, 4), between(fused)

    def forward(self, x):
        features = self.stem(x) if x.dim() == 4 else self.stem(x)[None]
        return self.attend(features.flatten(2).transpose(1, 2))


class HeadsInBatch(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.fused = fused

    def forward(self, x):
        q, k, v = (t.unflatten(2, (4, 6)).transpose(1, 2).flatten(0, 1) for t in (x, 2 * x, -x))
        return attend(q, k, v, self.fused)


class BetweenChannels(HeadsInBatch):
    def forward(self, x):
        q, k, v = (t.unflatten(2, (4, 6)).permute(0, 2, 3, 1) for t in (x, 2 * x, -x))
        return attend(q, k, v, self.fused)


def attend(q, k, v, fused):
    if fused:
        return F.scaled_dot_product_attention(q, k, v)
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("shape", [(2, 3, 12, 20), (3, 12, 20)])
def test_heads_in_the_batch(fused, shape):
    net, x = Picture(HeadsInBatch, fused), torch.randn(shape)
    record = captured_unchanged(net, lambda net: net(x))["attend"]
    samples = 1 if x.dim() == 3 else 2
    assert (record.size, record.heads, record.windows) == ((3, 5), 4, 1)
    assert record.attention.shape == (samples, 4, 15, 15)
    torch.testing.assert_close(record.output.flatten(0, 1), net(x).detach())


@pytest.mark.parametrize("fused", [True, False])
def test_channels_lie_on_no_grid(fused):
    net, x = Picture(BetweenChannels, fused), torch.randn(2, 3, 8, 24)
    net.cls_token = nn.Parameter(torch.zeros(1, 1, 24))
    record = captured_unchanged(net, lambda net: net(x))["attend"]
    assert (record.size, record.prefix, record.key_size, record.windows) == ((6,), 0, (6,), 1)


def test_shapes_that_cannot_be_told_are_refused():
    tokens = torch.randn(2, 3, 4, 5, 8)
    net = nn.ModuleDict({"attend": Attend()})
    with (
        pytest.raises(ValueError, match=r"'attend' attends with tensors of shape \[2, 3, 4, 5, 8\]"),
        gcnet.capture(net),
    ):
        net["attend"](tokens, tokens, tokens)


def with_map(net):
    """Let the attention layers of a timm network lay their maps out."""
    for module in net.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return net


VISION = {
    "vit_tiny_patch16_224": ({"img_size": (48, 80), "depth": 2}, 1, (3, 5)),
    "deit_tiny_distilled_patch16_224": ({"img_size": (48, 80), "depth": 2}, 2, (3, 5)),
    "vit_small_patch16_dinov3": ({"img_size": (48, 80), "depth": 2, "embed_dim": 48, "num_heads": 3}, 5, (3, 5)),
}


@pytest.mark.parametrize("name", VISION)
@torch.no_grad()
def test_vision_transformers_of_timm(name):
    options, prefix, size = VISION[name]
    net = timm.create_model(name, num_classes=3, **options).eval()
    x = torch.randn(2, 3, 48, 80)
    maps = captured_unchanged(net, lambda net: net(x))
    laid_out = captured_unchanged(with_map(net), lambda net: net(x))
    assert [*maps] == [*laid_out] == ["blocks.0.attn", "blocks.1.attn"]
    for path, record in maps.items():
        assert (record.prefix, record.size, record.key_size, record.windows) == (prefix, size, size, 1)
        assert record.input.shape == (2, prefix + 15, net.embed_dim)
        assert laid_out[path].query is None
        torch.testing.assert_close(record.attention, laid_out[path].attention, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(record.output, laid_out[path].output, rtol=1e-4, atol=1e-5)
        row = record.attention[1, 2, record.position(0.5, 0.9)]
        torch.testing.assert_close(record.map(prefix + 9, sample=1, head=2), row[prefix:].reshape(3, 5))


@torch.no_grad()
def test_parts_of_a_network_called_alone():
    net = timm.create_model("vit_tiny_patch16_224", img_size=(48, 80), depth=2, num_classes=3).eval()
    with gcnet.capture(net, "blocks.1") as maps:
        net.blocks[1](torch.randn(2, 16, 192))
    assert [(record.path, record.size, record.prefix) for record in maps.values()] == [("blocks.1.attn", (3, 5), 1)]


@torch.no_grad()
def test_keys_of_another_grid():
    net = timm.create_model("pvt_v2_b0", num_classes=3, depths=(1, 1, 1, 1)).eval()
    x = torch.randn(2, 3, 64, 96)
    maps = captured_unchanged(net, lambda net: net(x))
    assert [(record.size, record.key_size) for record in maps.values()] == [
        ((16, 24), (2, 3)), ((8, 12), (2, 3)), ((4, 6), (2, 3)), ((2, 3), (2, 3)),
    ]  # fmt: skip


@pytest.mark.parametrize("fused", [True, False])
@torch.no_grad()
def test_windows_are_samples(fused):
    net = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=(56, 28), embed_dim=8, depths=(2, 2), num_heads=(2, 4), num_classes=3
    ).eval()
    net = net if fused else with_map(net)
    x = torch.randn(3, 3, 56, 28)
    maps = captured_unchanged(net, lambda net: net(x))
    assert [(record.size, record.windows, len(record.attention)) for record in maps.values()] == [
        ((7, 7), 2, 6), ((7, 7), 2, 6), ((7, 4), 1, 3), ((7, 4), 1, 3),
    ]  # fmt: skip


@torch.no_grad()
def test_windows_of_torchvision():
    net = torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [2, 4], [7, 7], num_classes=3).eval()
    x = torch.randn(2, 3, 56, 56)
    maps = captured_unchanged(net, lambda net: net(x))
    assert [(record.size, record.windows, record.heads) for record in maps.values()] == [
        ((7, 7), 4, 2), ((7, 7), 4, 2), ((7, 7), 1, 4), ((7, 7), 1, 4),
    ]  # fmt: skip
    torch.testing.assert_close(maps["features.1.1.attn"].attention.sum(3), torch.ones(8, 2, 49))
