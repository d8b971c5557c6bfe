"""Hidden widths, specs and the messages of wrong arguments."""

import copy
import pickle
from fractions import Fraction

import pytest
import torch

from gcnet import Block, ContextBlock, GlobalContext, NonLocal, SelectiveKernel, SqueezeExcite
from gcnet.blocks.base import format_option, hidden_width


def test_hidden_width_is_that_of_the_official_code():
    assert hidden_width(256, 1 / 16, None) == 16
    assert hidden_width(250, 1 / 16, None) == 15
    assert hidden_width(256, Fraction(1, 4), None) == 64
    assert hidden_width(256, 1 / 16, 7) == 7


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (8, {"ratio": 1 / 16}, r"ratio=1/16 .* 0 for 8 channels; the smallest valid ratio for 8 channels is 2/8"),
        (16, {"ratio": 1 / 16}, r"hidden width of 1, whose LayerNorm is a constant; .* 2/16"),
        (8, {"ratio": 1 / 16, "norm": False}, "1/8"),
        (1, {"ratio": 1}, "switch the LayerNorm off"),
        (64, {"hidden": 1}, "hidden=1 gives a hidden width of 1"),
        (64, {"hidden": 0}, "hidden=0 must be at least 1"),
        (64, {"ratio": -1 / 4}, "positive"),
        (64, {"ratio": float("nan")}, "positive"),
    ],
)
def test_widths_that_are_too_small(channels, options, message):
    with pytest.raises(ValueError, match=message):
        GlobalContext(channels, **options)


def test_width_of_one_is_fine_without_layer_norm():
    assert GlobalContext(16, 1 / 16, norm=False).hidden == 1
    assert SqueezeExcite(16, 1 / 16).hidden == 1


def test_ratio_that_is_no_number():
    with pytest.raises(TypeError, match="1/16"):
        SqueezeExcite(64, "1/16")


def test_spec_records_the_gate():
    assert dict(SqueezeExcite.spec().options) == {"init": "identity", "gate": "centred"}
    assert SqueezeExcite.spec(init="published").options["gate"] == "published"
    assert "init" not in SelectiveKernel.spec().options
    assert "gate" not in NonLocal.spec().options


def test_spec_names_the_nearest_option():
    with pytest.raises(TypeError, match="did you mean 'pooling'"):
        GlobalContext.spec(poling="average")


def test_spec_is_immutable():
    spec = GlobalContext.spec()
    with pytest.raises(TypeError):
        spec.options["ratio"] = 1


def test_equal_specs_have_equal_hashes():
    assert len({GlobalContext.spec(ratio=1 / 4), GlobalContext.spec(ratio=0.25), GlobalContext.spec(ratio=1 / 8)}) == 2


def test_format_option():
    assert [format_option(value) for value in (1 / 16, 0.25, 0.3, 2.0, "add")] == [
        "1/16",
        "1/4",
        "3/10",
        "2.0",
        "'add'",
    ]


def test_spec_takes_lists_and_refuses_two_widths():
    assert hash(GlobalContext.spec(fusion=["add"])) == hash(GlobalContext.spec(fusion=("add",)))
    with pytest.raises(TypeError, match="not both"):
        GlobalContext.spec(ratio=1 / 4, hidden=8)


@pytest.mark.parametrize("channels", [49, 98, 103, 107, 196])
def test_the_smallest_valid_ratio_is_valid(channels):
    with pytest.raises(ValueError, match="smallest valid ratio") as refused:
        GlobalContext(channels, 1 / (channels + 1), norm=False)
    ratio = str(refused.value).split("is ")[1].split(",")[0]
    assert GlobalContext(channels, float(Fraction(ratio)), norm=False).hidden >= 1


def test_context_block_is_told_only_what_it_can_do():
    with pytest.raises(TypeError, match=r"such as 1/16$"):
        ContextBlock(64, None)
    with pytest.raises(ValueError, match="too few"):
        ContextBlock(1, 1.0)


class Halved:
    def forward(self, x):
        return super().forward(x) / 2


class HalvedExcite(Halved, SqueezeExcite):
    pass


class Doubled(GlobalContext):
    def forward(self, x):
        return 2 * super().forward(x)


class OnceMore(Doubled):
    pass


class Same(GlobalContext):
    pass


@pytest.mark.parametrize("cls", [HalvedExcite, Doubled, OnceMore, Same])
def test_a_forward_of_its_own_is_the_one_before_shortcut_and_relu(cls):
    block = cls(16, ratio=1 / 4)
    x, shortcut = torch.randn(2, 16, 3, 3), torch.randn(2, 16, 3, 3)
    assert torch.equal(block.forward_residual(x, shortcut), torch.relu(block(x) + shortcut))
    in_one_pass = cls.forward_residual is not Block.forward_residual
    assert in_one_pass is (cls is Same)


def test_the_composition_keeps_the_dtype_of_the_branch():
    block = NonLocal(16, dtype=torch.bfloat16)
    x, shortcut = torch.randn(2, 16, 3, 3).bfloat16(), torch.randn(2, 16, 3, 3)
    expected = block(x).detach()
    expected += shortcut
    assert torch.equal(block.forward_residual(x, shortcut), torch.relu(expected))


def test_specification_holds_every_option_with_its_default():
    assert dict(SqueezeExcite(64, hidden=4, bias=False).specification.options) == {
        "hidden": 4,
        "activation": "relu",
        "gate_function": "sigmoid",
        "bias": False,
        "init": "published",
        "gate": "published",
    }
    assert ContextBlock(in_channels=64).specification == ContextBlock(64).specification
    assert SelectiveKernel(64, device="meta").specification.block is SelectiveKernel


def test_specification_is_a_snapshot():
    fusions = ["channel_add"]
    block = ContextBlock(64, 1 / 4, "att", fusions)
    fusions.append("channel_mul")
    assert block.specification.options["fusion_types"] == ("channel_add",)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda block: pickle.loads(pickle.dumps(block))])
def test_copies_have_the_specification_too(copied):
    block = NonLocal(64, norm=True, subsample="after", subsample_size=(1, 2))
    assert copied(block).specification == block.specification


def test_an_iterator_is_no_fusion():
    with pytest.raises(TypeError, match="must be a tuple"):
        GlobalContext(64, fusion=iter(["add"]))
