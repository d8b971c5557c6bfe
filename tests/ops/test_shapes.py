"""Decisions on sizes and on whether a tensor has data."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gcnet.ops.shapes import has_data, surely


def test_fake_and_meta_tensors_have_no_data():
    assert has_data(torch.zeros(2))
    assert not has_data(torch.zeros(2, device="meta"))
    with FakeTensorMode():
        assert not has_data(torch.zeros(2))


def test_dynamic_sizes_are_not_asked():
    class Branch(torch.nn.Module):
        def forward(self, x):
            return x + 1 if surely(x.shape[0] < 10) else x - 1

    x = torch.zeros(3)
    assert Branch()(x).sum() == 3
    assert torch.export.export(Branch(), (x,)).module()(x).sum() == 3
    dynamic = torch.export.export(Branch(), (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
    for size in (2, 30):
        assert dynamic.module()(torch.zeros(size)).sum() == -size
