import copy

import pytest
import torch
import torchvision
from torch import nn

import gcnet
from gcnet.analysis.capture.blocks import block_kind
from tests.analysis.capture import captured_unchanged
from tests.blocks.cases import CASES, CHANNELS, example, perturb

ATTENDING = [case for case in CASES if block_kind(case.build())]
each = pytest.mark.parametrize("case", ATTENDING, ids=lambda case: case.name)
each_dims = pytest.mark.parametrize("dims", [1, 2, 3])


def expected_map(block, x):
    """Every pair of positions, as the equations of the blocks read: [N, P, M], or [N, M] of a pooled block."""
    if not isinstance(block, gcnet.NonLocal):
        key = block.conv_mask if isinstance(block, gcnet.ContextBlock) else block.key
        logits = torch.einsum("c,ncp->np", key.weight.flatten(), x.flatten(2)) + key.bias
        return logits.exp() / logits.exp().sum(1, keepdim=True)

    def projected(layer, features, pooled=False):
        pool = {3: nn.MaxPool1d, 4: nn.MaxPool2d, 5: nn.MaxPool3d}[x.dim()](2) if pooled else nn.Identity()
        features = pool(features) if block.subsample == "before" else features
        if layer is not None:
            features = torch.einsum("dc,nc...->nd...", layer.weight, features)
            features = features + layer.bias.reshape(-1, *[1] * (x.dim() - 2))
        features = pool(features) if block.subsample == "after" else features
        return features.flatten(2).transpose(1, 2)

    q, k = projected(block.query, x), projected(block.key, x, pooled=block.subsample is not None)
    if block.pairwise == "concatenation":
        w_q, w_k = block.concat.weight[0].chunk(2)
        return ((q @ w_q)[:, :, None] + (k @ w_k)[:, None]).clamp(min=0) / k.shape[1]
    logits = torch.einsum("npd,nmd->npm", q, k)
    if block.pairwise == "dot_product":
        return logits / k.shape[1]
    weights = (logits * (block.scale or 1)).exp()
    return weights / weights.sum(2, keepdim=True)


@each
@each_dims
@torch.no_grad()
def test_map_and_output_are_those_of_the_equations(case, dims):
    block = perturb(case.build(dims=dims)).double().eval()
    x = example(dims).double()
    record = captured_unchanged(block, lambda net: net(x))[""]
    assert torch.equal(record.input, x)
    assert record.size == x.shape[2:]
    torch.testing.assert_close(record.attention, expected_map(block, x))
    assert record.attention.shape[-1] == torch.Size(record.key_size).numel()
    added = block(x) - x
    if record.pooled and getattr(block, "fusion", getattr(block, "fusion_types", "add"))[0] in ("scale", "channel_mul"):
        torch.testing.assert_close(record.output.reshape(2, CHANNELS, *[1] * dims) * x, block(x))
    elif case.name != "gc_both":
        term = record.output.reshape(2, CHANNELS, *[1] * dims) if record.pooled else record.output
        torch.testing.assert_close(term.expand_as(x), added)


@torch.no_grad()
def test_with_both_fusions_the_output_is_the_added_term():
    block = perturb(gcnet.GlobalContext(CHANNELS, 1 / 8, fusion=("add", "scale"))).double()
    nn.init.zeros_(block.scale.expand.weight), nn.init.zeros_(block.scale.expand.bias)  # a factor of 1/2
    x = example().double()
    with gcnet.capture(block) as maps:
        y = block(x)
    torch.testing.assert_close(maps[""].output[:, :, None, None].expand_as(x), y - x / 2)


@each
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nothing_changes(case, training, dtype):
    block = perturb(case.build()).to(dtype).train(training)
    for x in (example(dtype=dtype), example(dtype=dtype).to(memory_format=torch.channels_last)):
        record = captured_unchanged(block, lambda net, x=x: net(x))[""]
        assert torch.equal(record.input, x)
        assert record.attention.dtype == torch.float32
        assert record.output.isfinite().all()


@each
def test_nothing_changes_under_autocast_and_in_inference_mode(case):
    net = nn.Sequential(nn.Conv2d(3, CHANNELS, 3), perturb(case.build()))
    x = torch.randn(2, 3, 9, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert captured_unchanged(net, lambda net: net(x))["1"].input.dtype == torch.bfloat16
    with torch.inference_mode():
        record = captured_unchanged(net, lambda net: net(x))["1"]
    assert not record.input.is_inference()
    assert not record.attention.is_inference()


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_norm_of_a_non_local_block(training):
    block = perturb(gcnet.NonLocal(CHANNELS, norm=True)).double().train(training)
    block.norm.running_mean.normal_(), block.norm.running_var.uniform_(0.5, 2)
    x = example().double()
    record = captured_unchanged(block, lambda net: net(x))[""]
    torch.testing.assert_close(record.output, (copy.deepcopy(block)(x) - x).detach())


@each
def test_one_pass_with_the_shortcut(case):
    block, x, shortcut = perturb(case.build()), example(), example()
    maps = captured_unchanged(block, lambda net: net.forward_residual(x, shortcut))
    assert len(maps.calls("")) == 1
    assert torch.equal(maps[""].input, x)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("block", [gcnet.GlobalContext, gcnet.NonLocal, gcnet.SimplifiedNonLocal])
def test_inserted_blocks(block, fused):
    net = torchvision.models.resnet18(num_classes=3).eval()
    gcnet.insert(net, block.spec(), stages=["c4", "c5"], fuse_residual=fused)
    for parameter in gcnet.added_parameters(net):
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 3, 64, 32)
    for observed in (False, True):  # a hook keeps the block from taking over the end of its host
        handle = net.layer3[0].relu.register_forward_hook(lambda *_: None) if observed else None
        with gcnet.capture(net) as maps:
            y = net(x)
        assert torch.equal(y, net(x))
        assert [maps[path].size for path in maps] == [(4, 2), (4, 2), (2, 1), (2, 1)]
        assert all(len(maps.calls(path)) == 1 for path in maps)
        if handle:
            handle.remove()
    host, path = net.layer3[1], "layer3.1.context_block"
    with gcnet.capture(net, "layer3.1") as maps:
        net(x)
    assert [*maps] == [path]
    torch.testing.assert_close(
        host.context_block(maps[path].input) - maps[path].input,
        maps[path].output if block is gcnet.NonLocal else maps[path].output[:, :, None, None].expand(2, -1, 4, 2),
    )


def test_disabled_blocks_are_left_out():
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.ReLU())
    gcnet.insert(net, gcnet.NonLocal.spec(), match="1")
    x = torch.randn(1, 3, 6, 6)
    with gcnet.capture(net) as maps:
        net(x)
        with gcnet.disabled(net):
            net(x)
        net(x)
    assert len(maps.calls("1.context_block")) == 2
    gcnet.disable(net)
    with pytest.raises(ValueError, match=r"disabled \('1.context_block'\); gcnet.enable"), gcnet.capture(net):
        pass


@torch.no_grad()
def test_only_the_queries_that_are_asked_for():
    block = perturb(gcnet.NonLocal(CHANNELS, subsample="after"))
    x = torch.randn(2, CHANNELS, 8, 6)
    with gcnet.capture(block) as whole, gcnet.capture(block, queries=[(0.5, 0.25), (1, 1)]) as maps:
        block(x)
    record, full = maps[""], whole[""]
    assert record.queries == (4 * 6 + 1, 47) == (full.position(0.5, 0.25), full.position(1, 1))
    torch.testing.assert_close(record.attention, full.rows(record.queries)[:, 0])
    torch.testing.assert_close(record.output, full.output.flatten(2)[:, :, record.queries])
    torch.testing.assert_close(record.map(1, sample=1), full.attention[1, 47].reshape(4, 3))
    assert record.query.shape == (2, 1, 2, CHANNELS // 2)


def test_a_pooled_block_has_one_row_for_all_queries():
    block, x = perturb(gcnet.GlobalContext(CHANNELS)), torch.randn(2, CHANNELS, 8, 6)
    with gcnet.capture(block, queries=[(0.5, 0.25)]) as maps:
        block(x)
    record = maps[""]
    assert record.pooled
    assert record.query is record.queries is None
    assert record.rows([3, 4]).shape == (2, 1, 2, 48)
    assert torch.equal(record.rows([3, 4])[:, 0, 1], block.attention_map(x).detach())
    assert torch.equal(record.map(7, sample=1), record.attention[1].reshape(8, 6))


def test_a_large_map_is_never_laid_out():
    block = gcnet.NonLocal(8, hidden=4)
    x = torch.randn(1, 8, 100, 167)  # the C3 stage of an image of 800 x 1333 pixels, with few channels
    with gcnet.capture(block, queries=[(0.5, 0.5)]) as maps, torch.no_grad():
        block(x)
    record = maps[""]
    assert record.map(0).shape == (100, 167)
    torch.testing.assert_close(record.map(0).sum(), torch.tensor(1.0))
    weights = sum(parameter.nbytes for parameter in block.parameters())
    assert record.nbytes == x.nbytes + weights + 4 * (1 + 16700) * 4 + 8  # one query, all keys, one index
    assert record.nbytes < 16700**2 * 4 / 1000
