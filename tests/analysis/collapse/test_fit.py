"""The key of a map that no softmax made."""

import torch

from gcnet.analysis.collapse.fit import fit_key


def test_a_softmax_of_a_linear_function_is_found_with_its_weight():
    key = torch.randn(6).double()
    features = [torch.randn(4, 6, 30).double(), torch.randn(2, 6, 20).double()]
    maps = [2.5 * torch.einsum("c,ncm->nm", key, x).softmax(1) for x in features]
    found, total = fit_key(features, maps)
    assert torch.allclose(found, key, atol=0.02)
    assert abs(total - 2.5) < 0.01


def test_negative_maps_have_a_negative_weight():
    features = [torch.randn(3, 5, 25).double()]
    maps = [-0.5 * features[0][:, 0].softmax(1)]
    found, total = fit_key(features, maps)
    assert abs(total + 0.5) < 0.01
    assert torch.allclose(found, torch.tensor([1.0, 0, 0, 0, 0]).double(), atol=0.02)


def test_maps_of_zeros_and_constant_channels_are_uniform_and_weightless():
    found, total = fit_key([torch.ones(2, 3, 4)], [torch.zeros(2, 4)])
    assert total == 0
    assert torch.equal(found, torch.zeros(3).double())
