"""What is special to the non-local block."""

import pytest
import torch

from gcnet import NonLocal
from tests.blocks.cases import perturb


def test_parameter_counts():
    assert [NonLocal.spec().parameter_count(c) for c in (256, 512, 1024, 2048)] == [131712, 525568, 2099712, 8393728]


def test_scale():
    assert NonLocal(64, scale="inverse_sqrt").scale == 32**-0.5
    assert NonLocal(64, pairwise="gaussian", scale="inverse_sqrt").scale == 64**-0.5
    assert NonLocal(64, scale=0.25).scale == 0.25
    with pytest.raises(ValueError, match="number of keys"):
        NonLocal(64, pairwise="dot_product", scale="inverse_sqrt")
    with pytest.raises(ValueError, match="inverse_sqrt"):
        NonLocal(64, scale="sqrt")


def test_the_two_orders_of_subsampling_differ():
    after = perturb(NonLocal(16, subsample="after", init="identity")).double()
    before = NonLocal(16, subsample="before").double()
    before.load_state_dict(after.state_dict())
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    assert not torch.allclose(before(x), after(x))


def test_video_subsampling_spares_time():
    block = NonLocal(16, subsample="before", subsample_size=(1, 2, 2))
    assert block.attention_map(torch.randn(1, 16, 4, 6, 6)).shape == (1, 144, 36)
    with pytest.raises(ValueError, match="axes"):
        block(torch.randn(1, 16, 6, 6))
    with pytest.raises(ValueError, match=r"\(1, 2, 2\)"):
        NonLocal(16, subsample="before", subsample_size=0)


@pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian"])
def test_rows_of_softmax_maps_sum_to_one(pairwise):
    rows = perturb(NonLocal(16, pairwise=pairwise)).attention_map(torch.randn(2, 16, 5, 5)).sum(dim=2)
    torch.testing.assert_close(rows, torch.ones(2, 25))


def test_norm_starts_at_zero_and_takes_no_bias():
    block = NonLocal(16, norm=True)
    assert not block.norm.weight.any()
    assert block.out.bias is None
    assert NonLocal(16, norm=True, out_bias=True).out.bias is not None


def test_sync_batch_norm_conversion():
    block = torch.nn.SyncBatchNorm.convert_sync_batchnorm(perturb(NonLocal(16, norm=True)).eval())
    assert isinstance(block.norm, torch.nn.SyncBatchNorm)
    assert block(torch.randn(2, 16, 5, 5)).shape == (2, 16, 5, 5)
