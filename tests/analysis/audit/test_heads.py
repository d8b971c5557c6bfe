"""Attention layers of transformers: per head, without the tokens before those of the picture."""

import pytest
import torch
from torch import nn

from gcnet.analysis.audit import audit
from tests.analysis.test_query_dependence import pairs_cosine, pairs_divergence

timm = pytest.importorskip("timm")


class Encoder(nn.Module):
    """One attention over tokens [N, L, 8]."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return x + self.attn(x, x, x, need_weights=False)[0]


def test_heads_are_measured_as_torch_s_own_weights_say():
    model, x = Encoder().eval(), torch.randn(3, 10, 8)
    nn.init.normal_(model.attn.in_proj_weight)
    with torch.no_grad():
        weights = model.attn(x, x, x, average_attn_weights=False)[1]
    layer, *heads = audit(model, [x]).blocks
    assert (layer.path, layer.kind, layer.pairwise, layer.head) == ("attn", "attention", None, None)
    assert layer.input.mean == pytest.approx(pairs_cosine(x).mean().item())
    cosines = torch.stack([pairs_cosine(weights[:, head]) for head in range(2)], 1)
    divergences = torch.stack([pairs_divergence(weights[:, head]) for head in range(2)], 1)
    assert layer.attention.mean == pytest.approx(cosines.mean().item(), rel=1e-5)
    assert layer.divergence.mean == pytest.approx(divergences.mean().item(), rel=1e-5)
    for number, head in enumerate(heads):
        assert (head.path, head.head, head.positions, head.images, head.input) == ("attn", number, (10, 10), 3, None)
        assert head.attention.mean == pytest.approx(cosines[:, number].mean().item(), rel=1e-5)
        assert head.divergence.mean == pytest.approx(divergences[:, number].mean().item(), rel=1e-5)
    assert layer.output.mean == pytest.approx(sum(head.output.mean for head in heads) / 2)


def test_the_class_token_is_a_key_and_no_position():
    model, seen = timm.create_model("test_vit", img_size=32).eval(), []
    attn = model.blocks[0].attn
    nn.init.normal_(attn.qkv.weight, std=0.2)
    with attn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        layer, *heads = audit(model, [torch.randn(2, 3, 32, 32)], match="blocks.0.attn").blocks
    (tokens,) = seen
    N, L = tokens.shape[:2]
    with torch.no_grad():
        q, k, v = attn.qkv(tokens).reshape(N, L, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        rows = (attn.q_norm(q) @ attn.k_norm(k).transpose(2, 3) * attn.scale).softmax(-1)
    assert L == 1 + layer.positions[0] == 1 + layer.positions[1]
    assert layer.input.mean == pytest.approx(pairs_cosine(tokens[:, 1:]).mean().item(), rel=1e-5)
    assert len(heads) == attn.num_heads
    for head in heads:
        queries = rows[:, head.head, 1:]  # over all keys
        assert head.attention.mean == pytest.approx(pairs_cosine(queries).mean().item(), rel=1e-4)
        assert head.divergence.mean == pytest.approx(pairs_divergence(queries).mean().item(), rel=1e-4)
        assert head.output.mean == pytest.approx(pairs_cosine(queries @ v[:, head.head]).mean().item(), rel=1e-4)


def test_windows_of_an_image_are_averaged():
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=32, window_size=4, embed_dim=8, depths=(1,), num_heads=(2,)
    )
    found = audit(model, [torch.randn(3, 3, 32, 32)])
    assert [block.head for block in found.blocks] == [None, 0, 1]
    assert found.images == found.blocks[0].images == found.blocks[0].attention.images == 3
    assert found.blocks[0].positions == (16, 16)


def test_layers_and_heads_are_lines_of_the_table():
    model, x = Encoder(), torch.randn(1, 4, 8)
    lines = [line.split() for line in str(audit(model, [x])).splitlines()]
    assert lines[4][:3] == ["attn", "attention", "4"]
    assert [line[:4] for line in lines[5:7]] == [["head", str(head), "4", "-"] for head in (0, 1)]
