"""What is special to the GC block, SNL and their published form."""

import pytest
import torch

from gcnet import ContextBlock, GlobalContext, SimplifiedNonLocal

#: Parameters per block for C = 256, 512, 1024, 2048, counted by the formulas of the paper's equations.
COUNTS = {
    "snl": [66049, 263169, 1050625, 4198401],
    4: [33473, 132481, 527105, 2102785],
    8: [16993, 66753, 264577, 1053441],
    16: [8753, 33889, 133313, 528769],
    32: [4633, 17457, 67681, 266433],
}


@pytest.mark.parametrize("kind", COUNTS, ids=str)
def test_parameter_counts(kind):
    spec = SimplifiedNonLocal.spec() if kind == "snl" else GlobalContext.spec(ratio=1 / kind)
    assert [spec.parameter_count(c) for c in (256, 512, 1024, 2048)] == COUNTS[kind]


def test_bottleneck_ablation():
    c, hidden = 64, 4
    counts = [
        sum(p.numel() for p in GlobalContext(c, **options).parameters())
        for options in ({"ratio": None}, {"norm": False, "relu": False}, {"norm": False}, {})
    ]
    key, plain = c + 1, 2 * c * hidden + c + hidden
    assert counts == [key + c * c + c, key + plain, key + plain, key + plain + 2 * hidden]


def test_single_projection_is_simplified_non_local():
    block, snl = GlobalContext(32, ratio=None), SimplifiedNonLocal(32)
    for p in snl.parameters():
        torch.nn.init.normal_(p)
    names = {"add.expand.weight": "value.weight", "add.expand.bias": "value.bias"}
    block.load_state_dict({name: snl.state_dict()[names.get(name, name)] for name in block.state_dict()})
    x = torch.randn(2, 32, 6, 6)
    assert torch.equal(block(x), snl(x))


def test_scaling_comes_first():
    block = GlobalContext(16, 1 / 4, fusion=("add", "scale"))
    torch.nn.init.ones_(block.add.expand.bias)
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(block(x), x * 0.5 + 1)


def test_published_start():
    assert torch.equal(GlobalContext(32)(x := torch.randn(2, 32, 5)), x)
    assert torch.equal(GlobalContext(32, fusion="scale")(x), x * 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "avg"}, "'average'"),
        ({"fusion": "mul"}, "'scale'"),
        ({"fusion": ()}, "each once"),
        ({"fusion": ("add", "add")}, "each once"),
        ({"ratio": None, "norm": True}, "there is none"),
        ({"init": "zero"}, "'identity'"),
        ({"gate": "centered"}, "did you mean 'centred'"),
        ({"fusion": "scale", "init": "identity", "gate": "published"}, "needs gate='centred'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        GlobalContext(64, **options)


def test_attention_map():
    x = torch.randn(2, 64, 6, 5)
    alpha = GlobalContext(64).attention_map(x)
    assert alpha.shape == (2, 30)
    torch.testing.assert_close(alpha.sum(1), torch.ones(2))
    with pytest.raises(ValueError, match="average"):
        GlobalContext(64, pooling="average").attention_map(x)


def test_the_article_runs_as_printed():
    block = ContextBlock(inplanes=64, ratio=1.0 / 16.0, pooling_type="att")
    assert block(torch.ones([12, 64, 128, 128])).shape == (12, 64, 128, 128)


def test_context_block_has_the_published_keys_and_shapes():
    block = ContextBlock(64, 1 / 4, fusion_types=("channel_add", "channel_mul"))
    shapes = {name: tuple(p.shape) for name, p in block.state_dict().items()}
    branch = {
        "0.weight": (16, 64, 1, 1),
        "0.bias": (16,),
        "1.weight": (16, 1, 1),
        "1.bias": (16, 1, 1),
        "3.weight": (64, 16, 1, 1),
        "3.bias": (64,),
    }
    expected = {"conv_mask.weight": (1, 64, 1, 1), "conv_mask.bias": (1,)}
    for name in ("channel_add_conv", "channel_mul_conv"):
        expected |= {f"{name}.{key}": shape for key, shape in branch.items()}
    assert shapes == expected


def test_context_block_submodules_are_callable():
    block = ContextBlock(64, 1 / 4)
    x = torch.randn(2, 64, 5, 5)
    assert block.channel_mul_conv is None
    assert block.conv_mask(x).shape == (2, 1, 5, 5)
    context = torch.einsum("np,ncp->nc", block.attention_map(x), x.flatten(2))[..., None, None]
    torch.nn.init.normal_(block.channel_add_conv[3].weight)
    torch.testing.assert_close(block(x), x + block.channel_add_conv(context))
    assert ContextBlock(64, 1 / 4, "avg").conv_mask is None


def test_context_block_words():
    assert ContextBlock(in_channels=64, ratio=1 / 4).inplanes == 64
    with pytest.raises(TypeError, match="once"):
        ContextBlock(64, 1 / 4, in_channels=64)
    with pytest.raises(TypeError, match="once"):
        ContextBlock(ratio=1 / 4)
    with pytest.raises(ValueError, match="tuple"):
        ContextBlock(64, 1 / 4, fusion_types="channel_add")
    with pytest.raises(ValueError, match="'att'"):
        ContextBlock(64, 1 / 4, "attention")
