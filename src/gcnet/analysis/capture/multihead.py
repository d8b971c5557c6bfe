"""nn.MultiheadAttention: queries, keys and values projected once more, beside whatever path its own forward takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attended(NamedTuple):
    """What a softmax attention works on: q [N, heads, P, d], k [N, key heads, M, d], v, and mask as for SDPA."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None = None
    is_causal: bool = False
    scale: float | None = None


def project(
    layer: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Attended]:
    """Tokens that ask [N, L, C], and what one call of an ``nn.MultiheadAttention`` attends with."""
    if query.dim() == 2:
        query, key, value = query[None], key[None], value[None]
        key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
    elif not layer.batch_first:
        query, key, value = (tokens.transpose(0, 1) for tokens in (query, key, value))
    if layer._qkv_same_embed_dim:
        weights = layer.in_proj_weight.chunk(3)
    else:
        weights = layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight
    biases = (None,) * 3 if layer.in_proj_bias is None else layer.in_proj_bias.chunk(3)
    q, k, v = map(F.linear, (query, key, value), weights, biases)
    mask = _merged(key_padding_mask, attn_mask, layer.num_heads, q.dtype)
    if layer.bias_k is not None:
        k, v = (
            torch.cat([t, b.to(t.dtype).expand(len(t), 1, -1)], 1) for t, b in ((k, layer.bias_k), (v, layer.bias_v))
        )
    if layer.add_zero_attn:
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
    if mask is not None:
        mask = F.pad(mask, (0, k.shape[1] - mask.shape[3]))
    q, k, v = (t.unflatten(2, (layer.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
    return query, Attended(q, k, v, mask)


def _merged(padding: Tensor | None, attention: Tensor | None, heads: int, dtype: torch.dtype) -> Tensor | None:
    """The two masks of the module as one term that is added, broadcast to [N, heads, P, M]."""
    terms = []
    if padding is not None:
        terms.append(_term(padding, dtype)[:, None, None])
    if attention is not None:
        term = _term(attention, dtype)
        terms.append(term[None, None] if term.dim() == 2 else term.unflatten(0, (-1, heads)))
    return sum(terms[1:], terms[0]) if terms else None


def _term(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """-inf where a boolean mask forbids."""
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -torch.inf)


def encoder_layer_tokens(
    layer: nn.TransformerEncoderLayer,
    src: Tensor,
    src_mask: Tensor | None = None,
    src_key_padding_mask: Tensor | None = None,
    is_causal: bool = False,
) -> dict[str, Any]:
    """What the fused forward of an encoder layer gives to its attention, as arguments of :func:`project`."""
    if src.is_nested:
        lengths = torch.tensor([len(tokens) for tokens in src.unbind()], device=src.device)
        src = src.to_padded_tensor(0.0)
        src_key_padding_mask = torch.arange(src.shape[1], device=src.device) >= lengths[:, None]
    tokens = layer.norm1(src) if layer.norm_first else src
    return {
        "query": tokens,
        "key": tokens,
        "value": tokens,
        "attn_mask": src_mask,
        "key_padding_mask": src_key_padding_mask,
    }
