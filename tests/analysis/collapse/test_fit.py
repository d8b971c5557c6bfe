"""The key of the map nearest to given ones."""

import torch

from gcnet.analysis.collapse.fit import fit_key


def test_a_softmax_of_a_linear_function_is_found_with_its_weight():
    key = torch.randn(6).double()
    features = [torch.randn(4, 6, 300).double(), torch.randn(2, 6, 200).double()]
    maps = [2.5 * torch.einsum("c,ncm->nm", key, x).softmax(1) for x in features]
    found, total = fit_key(features, maps)
    assert torch.cosine_similarity(found, key, dim=0) > 0.999
    assert abs(total - 2.5) < 0.1


def test_the_gradient_vanishes_there():
    """d/dw of the cross-entropy is sum_j (softmax_j - p_j) x_j; the penalty adds 2 * 0.01 w in units of deviations."""
    x = torch.randn(3, 5, 40).double() * torch.tensor([0.1, 1, 1, 1, 10]).double()[:, None]
    p = torch.rand(3, 40).double().softmax(1)
    w, _ = fit_key([x], [p])
    softmax = torch.einsum("c,ncm->nm", w, x).softmax(1)
    deviation = x.std(dim=(0, 2), correction=0)
    gradient = torch.einsum("nm,ncm->c", softmax - p, x) / 3 / deviation + 0.02 * w * deviation
    assert gradient.abs().max() < 1e-5


def test_negative_maps_have_a_negative_weight():
    features = [torch.randn(3, 5, 250).double()]
    maps = [-0.5 * features[0][:, 0].softmax(1)]
    found, total = fit_key(features, maps)
    assert abs(total + 0.5) < 0.02
    assert found[0] > 0.9


def test_maps_of_zeros_and_constant_channels_are_uniform_and_weightless():
    found, total = fit_key([torch.ones(2, 3, 4)], [torch.zeros(2, 4)])
    assert total == 0
    assert torch.equal(found, torch.zeros(3).double())
