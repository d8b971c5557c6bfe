import pytest

from gcnet import GlobalContext, SelectiveKernel
from gcnet.blocks.names import BLOCKS, block_spec


@pytest.mark.parametrize("name", BLOCKS)
def test_every_name_describes_its_block(name):
    spec = block_spec(name, init="identity")
    assert spec.block is BLOCKS[name]
    assert spec.build(64, device="meta").channels == 64


def test_options():
    assert block_spec("none") is None
    assert block_spec("gc", 1 / 8).options["ratio"] == 1 / 8
    assert block_spec("gc") == GlobalContext.spec(init="published")
    assert "init" not in block_spec("sk").options
    assert block_spec("sk").block is SelectiveKernel


def test_further_options():
    spec = block_spec("nl", options={"subsample": "before", "norm": True})
    assert (spec.options["subsample"], spec.options["norm"]) == ("before", True)


def test_errors():
    with pytest.raises(ValueError, match="unknown option 'subsampel', did you mean 'subsample'"):
        block_spec("nl", options={"subsampel": "before"})
    with pytest.raises(ValueError, match="block 'none' has no options"):
        block_spec("none", options={"pooling": "average"})
    with pytest.raises(ValueError, match="did you mean 'cbam'"):
        block_spec("cbm")
    with pytest.raises(ValueError, match="'snl' has no hidden layer"):
        block_spec("snl", 1 / 4)
