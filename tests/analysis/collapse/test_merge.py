"""Collapsed blocks hold the function of the original where it has one map, in float64."""

import pytest
import torch
from torch import nn

import gcnet
from gcnet.analysis.collapse.merge import (
    Linear,
    global_context,
    low_rank,
    merged_transform,
    pool,
    pooled_output,
    query_key,
    rank_of,
    simplified,
)

CHANNELS = 12


def random_block(**options):
    block = gcnet.NonLocal(CHANNELS, dtype=torch.float64, **options).eval()
    with torch.no_grad():
        for tensor in (*block.parameters(), *block.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.2, 1.0) if tensor is getattr(block.norm, "running_var", None) else tensor.normal_()
    return block


def independent(block):
    """The block with a query that is its bias alone, and that query."""
    nn.init.zeros_(block.query.weight)
    return block, block.query.bias.detach()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scale": "inverse_sqrt"},
        {"scale": 0.3, "hidden": 5},
        {"norm": True},
        {"norm": True, "out_bias": True},
        {"out_bias": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(7,), (5, 6), (2, 3, 4)], ids=str)
def test_snl_is_exact_where_the_query_is_a_bias(options, size):
    block, query = independent(random_block(**options))
    x = torch.randn(3, CHANNELS, *size, dtype=torch.float64)
    snl = simplified(query_key(block, query), merged_transform(block))
    assert torch.allclose(snl(x), block(x), rtol=1e-10, atol=1e-10)
    assert torch.allclose(snl.attention_map(x), block.attention_map(x)[:, 0], rtol=1e-10, atol=1e-12)


def test_gaussian_key_is_the_scaled_query():
    block = random_block(pairwise="gaussian", scale=0.1)
    x = torch.randn(2, CHANNELS, 9, dtype=torch.float64)
    key = query_key(block, x[0, :, 4])
    expected = (0.1 * x[0, :, 4] @ x[0]).softmax(0)
    assert torch.allclose((key @ x[0]).softmax(0), expected)
    assert torch.allclose(block.attention_map(x)[0, 4], expected)


def test_gc_of_full_rank_is_exact():
    block, query = independent(random_block(norm=True))
    x = torch.randn(20, CHANNELS, 5, 5, dtype=torch.float64)
    key, transform = query_key(block, query), merged_transform(block)
    gc = global_context(key, low_rank(transform, CHANNELS, pool(key, x)))
    assert torch.allclose(gc(x), block(x), rtol=1e-9, atol=1e-9)
    assert torch.allclose(x + pooled_output(gc, x)[:, :, None, None], gc(x))


def test_low_rank_is_the_best_over_the_contexts():
    """No worse than the truncated singular values of the weights, and equal to the optimum by the spectrum."""
    transform = Linear(torch.randn(CHANNELS, CHANNELS).double(), torch.randn(CHANNELS).double())
    contexts = torch.randn(300, CHANNELS).double() * torch.linspace(0.1, 3, CHANNELS) + 1
    exact = contexts @ transform.weight.T + transform.bias
    reduce, expand = low_rank(transform, 3, contexts)
    ours = (contexts @ reduce.weight.T + reduce.bias) @ expand.weight.T + expand.bias
    spectrum = torch.linalg.svdvals(exact - exact.mean(0))
    assert torch.allclose((ours - exact).square().sum(), spectrum[3:].square().sum(), rtol=1e-4)
    u, s, v = torch.linalg.svd(transform.weight)
    plain = contexts @ ((u[:, :3] * s[:3]) @ v[:3]).T + transform.bias
    assert (ours - exact).norm() < (plain - exact).norm()
    assert torch.allclose(ours.mean(0), exact.mean(0))


def test_low_rank_of_a_single_context_still_has_every_unit():
    transform = Linear(torch.randn(CHANNELS, CHANNELS).double(), torch.zeros(CHANNELS).double())
    context = torch.randn(1, CHANNELS).double()
    reduce, expand = low_rank(transform, 4, context)
    assert torch.allclose(
        (context @ reduce.weight.T) @ expand.weight.T + expand.bias, context @ transform.weight.T + transform.bias
    )
    assert torch.linalg.matrix_rank(expand.weight @ reduce.weight) == 4


def test_rank_keeps_a_share_of_the_variance():
    variances = torch.tensor([4.0, 3.0, 2.0, 1.0]).double()
    contexts = torch.cat([torch.diag(variances.sqrt()), -torch.diag(variances.sqrt())])
    transform = Linear(torch.eye(4).double(), torch.zeros(4).double())
    assert [rank_of(transform, contexts, kept) for kept in (0.3, 0.5, 0.69, 0.95, 1.0)] == [1, 2, 2, 4, 4]
