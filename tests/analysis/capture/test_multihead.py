"""nn.MultiheadAttention and what is built of it; its own weights are the judge."""

import pytest
import torch
import torchvision
from torch import nn

import gcnet
from tests.analysis.capture import captured_unchanged

L, S, N, C = 5, 7, 2, 16
BANNED = torch.tensor([[False] * S, [False] * 4 + [True] * 3])
CAUSAL = nn.Transformer.generate_square_subsequent_mask(L)

FORMS = {
    "plain": {},
    "batch_first": {"batch_first": True},
    "no_bias": {"bias": False},
    "other_widths": {"kdim": 10, "vdim": 12, "batch_first": True},
    "biases_of_keys": {"add_bias_kv": True},
    "zero_key": {"add_zero_attn": True, "batch_first": True},
    "all": {"add_bias_kv": True, "add_zero_attn": True, "kdim": 10, "vdim": 12},
}


def heads_of(layer, query, key, value, **masks):
    """Weights per head, and the output of the layer."""
    output, weights = layer(query, key, value, need_weights=True, average_attn_weights=False, **masks)
    return weights.reshape(-1, *weights.shape[-3:]), output


def projected(layer, record):
    """Output of the layer from the captured output per head."""
    output = layer.out_proj(record.output.transpose(1, 2).flatten(2))
    return output if layer.batch_first else output.transpose(0, 1)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masks", [{}, {"key_padding_mask": BANNED}, {"attn_mask": torch.ones(L, S).triu(2).bool()},
                                   {"attn_mask": torch.randn(4 * N, L, S), "key_padding_mask": torch.randn(N, S)}],
                         ids=["", "padding", "attention", "both_added"])  # fmt: skip
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@torch.no_grad()
def test_cross_attention(options, masks, need_weights):
    layer = nn.MultiheadAttention(C, 4, **options)
    widths = (C, options.get("kdim", C), options.get("vdim", C))
    given = [torch.randn(N, length, width) for length, width in zip((L, S, S), widths, strict=True)]
    inputs = given if layer.batch_first else [tokens.transpose(0, 1) for tokens in given]
    record = captured_unchanged(layer, lambda net: net(*inputs, need_weights=need_weights, **masks)[0])[""]
    weights, output = heads_of(layer, *inputs, **masks)
    torch.testing.assert_close(record.attention, weights)
    torch.testing.assert_close(projected(layer, record), output)
    assert torch.equal(record.input, given[0])
    assert (record.heads, record.positions, record.kind) == (4, L, "attention")


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("masks", [{}, {"attn_mask": CAUSAL.isinf()}], ids=["", "causal"])
def test_the_fast_path_of_self_attention(masks, grad):
    layer, x = nn.MultiheadAttention(C, 4, batch_first=True).eval(), torch.randn(N, L, C)
    with torch.set_grad_enabled(grad):
        record = captured_unchanged(layer, lambda net: net(x, x, x, **masks)[0])[""]
    torch.testing.assert_close(record.attention, heads_of(layer, x, x, x, **masks)[0].detach())


@torch.no_grad()
def test_one_sample_without_a_batch():
    layer, x = nn.MultiheadAttention(C, 4), torch.randn(L, C)
    record = captured_unchanged(layer, lambda net: net(x, x, x)[0])[""]
    torch.testing.assert_close(record.attention, heads_of(layer, x, x, x)[0])


def test_dropout_and_training():
    layer, x = nn.MultiheadAttention(C, 4, dropout=0.5, batch_first=True), torch.randn(N, L, C)
    record = captured_unchanged(layer, lambda net: net(x, x, x)[0])[""]
    torch.testing.assert_close(record.attention.sum(3), torch.ones(N, 4, L))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors", "ignore:enable_nested_tensor is True")
def test_encoder_in_its_fused_forms(norm_first, grad):
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(C, 4, 32, batch_first=True, norm_first=norm_first), 2
    ).eval()
    x = torch.randn(N, S, C)
    real = ~BANNED
    for masks in ({}, {"src_key_padding_mask": BANNED}):
        with torch.set_grad_enabled(grad):
            maps = captured_unchanged(encoder, lambda net, masks=masks: net(x, **masks))
        assert [*maps] == ["layers.0.self_attn", "layers.1.self_attn"]
        first = encoder.layers[0]
        tokens = first.norm1(x) if norm_first else x
        padding = {"key_padding_mask": BANNED} if masks else {}
        weights, _ = heads_of(first.self_attn, tokens, tokens, tokens, **padding)
        seen = maps["layers.0.self_attn"].attention
        torch.testing.assert_close(seen.transpose(1, 2)[real], weights.detach().transpose(1, 2)[real])


@torch.no_grad()
def test_decoder_attends_twice_in_a_layer():
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(C, 4, 32, batch_first=True), 1)
    target, memory = torch.randn(N, L, C), torch.randn(N, S, C)
    maps = captured_unchanged(decoder, lambda net: net(target, memory, tgt_mask=CAUSAL, tgt_is_causal=True))
    assert [*maps] == ["layers.0.self_attn", "layers.0.multihead_attn"]
    assert maps["layers.0.self_attn"].attention.triu(1).eq(0).all()
    assert maps["layers.0.multihead_attn"].attention.shape == (N, 4, L, S)


@pytest.mark.parametrize("grad", [True, False])
def test_vision_transformer_of_torchvision(grad):
    net = torchvision.models.VisionTransformer(32, 8, 2, 4, 16, 32, num_classes=3).eval()
    x = torch.randn(N, 3, 32, 32)
    with torch.set_grad_enabled(grad):
        maps = captured_unchanged(net, lambda net: net(x), queries=[(0.5, 0.25)])
    assert len(maps) == 2
    record = maps["encoder.layers.encoder_layer_1.self_attention"]
    assert (record.size, record.prefix, record.queries) == ((4, 4), 1, (1 + 2 * 4 + 1,))
    assert record.map(0, sample=1, head=3).shape == (4, 4)
    assert record.attention.shape == (N, 4, 1, 17)
    with gcnet.capture(net) as whole, torch.no_grad():
        net(x)
    full = whole[record.path]
    torch.testing.assert_close(record.attention, full.rows(record.queries))
    torch.testing.assert_close(record.output, full.output[:, :, record.queries])
