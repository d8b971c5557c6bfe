"""The published operations compute what the reference computes."""

import copy

import pytest
import torch

from gcnet import GlobalContext, NonLocal, SqueezeExcite
from gcnet.benchmarks.published import as_published
from gcnet.benchmarks.workload import _randomise
from gcnet.ops import backend

FORMS = [
    *(
        (GlobalContext, {"ratio": 1 / 4, "pooling": p, "fusion": f})
        for p in ("attention", "average")
        for f in (("add",), ("scale",), ("add", "scale"))
    ),
    (GlobalContext, {"ratio": 1 / 4, "fusion": "scale", "gate": "centred"}),
    (SqueezeExcite, {"ratio": 1 / 4}),
    (NonLocal, {"pairwise": "embedded_gaussian"}),
    (NonLocal, {"pairwise": "embedded_gaussian", "scale": "inverse_sqrt"}),
    (NonLocal, {"pairwise": "dot_product"}),
    (NonLocal, {"pairwise": "concatenation"}),
]


@pytest.mark.parametrize("spatial", [(5,), (5, 3), (2, 3, 5), (1, 1)], ids=str)
@pytest.mark.parametrize(("block", "options"), FORMS, ids=str)
def test_outputs_and_gradients_are_those_of_the_reference(block, options, spatial):
    ours = block(16, **options).double()
    _randomise(ours)
    published = as_published(copy.deepcopy(ours))
    x = torch.randn(3, 16, *spatial, dtype=torch.float64, requires_grad=True)
    g = torch.randn_like(x)
    y = published(x)
    found = (y, *torch.autograd.grad(y, [x, *published.parameters()], g))
    with backend("reference"):
        y = ours(x)
        expected = (y, *torch.autograd.grad(y, [x, *ours.parameters()], g))
    for value, judge in zip(found, expected, strict=True):
        assert (value - judge).norm() <= 1e-12 * max(judge.norm(), g.norm())
    assert list(published.state_dict()) == list(ours.state_dict())
