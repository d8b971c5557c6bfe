"""Modules of other libraries in the place of blocks."""

import copy
import pickle

import pytest
import torch
from torch import nn

import gcnet
from gcnet.blocks.foreign import ForeignBlock, foreign_class, foreign_spec


class Doubled(nn.Module):
    """Doubles; not a block that keeps its shape where ``wide``."""

    def __init__(self, channels, wide=False):
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels, 1, 1), 2.0))
        self.wide = wide

    def forward(self, x):
        y = x * self.factor
        return torch.cat([y, y], 1) if self.wide else y


DOUBLED = f"{__name__}:Doubled"


class Outer:
    Inner = Doubled


def test_it_computes_what_its_module_computes():
    x = torch.randn(2, 6, 5, 4)
    assert torch.equal(ForeignBlock(6, source=DOUBLED)(x), 2 * x)


def test_a_class_within_a_class():
    assert foreign_class(f"{__name__}:Outer.Inner") is Doubled


def test_device_and_dtype():
    block = ForeignBlock(6, source=DOUBLED, device="meta", dtype=torch.float64)
    assert (block.module.factor.device.type, block.module.factor.dtype) == ("meta", torch.float64)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("torch.nn", "must be MODULE:CLASS"),
        ("torch.nn:", "must be MODULE:CLASS"),
        (":Conv2d", "must be MODULE:CLASS"),
        ("torch.nn:Conv2d()", "must be MODULE:CLASS"),
        ("../evil:Block", "must be MODULE:CLASS"),
        ("no_such_package:Block", "no_such_package cannot be imported here"),
        ("torch.nn:NoSuch", "torch.nn has no NoSuch"),
        ("os:system", "system is no class of torch.nn.Module"),
        ("pathlib:Path", "Path is no class of torch.nn.Module"),
    ],
)
def test_names_that_are_no_module_are_refused(source, said):
    with pytest.raises(ValueError, match=said):
        foreign_spec(source)


def test_options_its_class_does_not_take():
    with pytest.raises(ValueError, match=r"cannot be built for 6 channels .*narrow"):
        foreign_spec(DOUBLED, {"narrow": True}).build(6)


def test_another_shape_is_refused():
    block = foreign_spec(DOUBLED, {"wide": True}).build(6)
    with pytest.raises(
        ValueError, match=r"has to return the shape of its input \[2, 6, 5, 5\], got shape \[2, 12, 5, 5\]"
    ):
        block(torch.zeros(2, 6, 5, 5))


def test_it_is_inserted_moved_copied_and_removed_like_others():
    resnet18 = pytest.importorskip("torchvision").models.resnet18
    net = resnet18(num_classes=3).eval()
    x = torch.randn(1, 3, 32, 32)
    before = net(x)
    report = gcnet.insert(net, foreign_spec(DOUBLED), stages=("c4",), position="after_1x1")
    assert "does not start as the identity" in str(report)
    after = net(x)
    assert not torch.equal(after, before)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(other(x), after)
    net(x).sum().backward()
    assert net.layer3[0].context_block.module.factor.grad is not None
    gcnet.remove(net)
    assert torch.equal(net(x), before)


def test_specs_of_equal_options_are_equal():
    assert foreign_spec(DOUBLED, {"wide": True}) == foreign_spec(DOUBLED, {"wide": True})
    assert foreign_spec(DOUBLED, {"wide": True}) != foreign_spec(DOUBLED)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("timm.layers:EcaModule", {}),
        ("timm.layers:SEModule", {"rd_ratio": 1 / 8}),
        ("torchvision.ops:SqueezeExcitation", {"squeeze_channels": 4}),
    ],
)
def test_blocks_of_libraries(source, options):
    pytest.importorskip(source.partition(".")[0])
    block = foreign_spec(source, options).build(32)
    assert block(torch.randn(2, 32, 7, 7)).shape == (2, 32, 7, 7)
