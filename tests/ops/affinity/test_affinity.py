"""The public functions: derivatives on every backend, the limit of maps, wrong arguments."""

import pytest
import torch

from gcnet import ops
from gcnet.ops import affinity
from gcnet.ops.affinity import PAIRWISE
from gcnet.ops.backend import BACKENDS


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("subsample", [None, "before", "after"])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_gradcheck_and_gradgradcheck(name, subsample, pairwise):
    def weight(*shape):
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    x, embedded = weight(2, 3, 3, 2), pairwise != "gaussian"
    inputs = [x, weight(2, 3), weight(3, 2)] + ([weight(2, 3), weight(2, 3)] if embedded else [])
    if pairwise == "concatenation":
        inputs.append(weight(1, 4))

    def call(x, value, out, query=None, key=None, concat=None):
        return ops.non_local(
            x,
            value=ops.Projection(value),
            out=ops.Projection(out),
            query=None if query is None else ops.Projection(query),
            key=None if key is None else ops.Projection(key),
            pairwise=pairwise,
            concat_weight=concat,
            subsample=subsample,
        )

    with ops.backend(name):
        assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
        assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


def test_the_limit_is_one_of_maps(monkeypatch):
    monkeypatch.setattr(affinity, "AFFINITY_LIMIT", 100)
    x = torch.randn(1, 4, 11)
    with pytest.raises(ValueError, match=r"11 x 11 .* GlobalContext"):
        ops.affinity_map(x, query=None, key=None, pairwise="gaussian")
    assert ops.affinity_map(x, query=None, key=None, pairwise="gaussian", subsample="before").shape == (1, 11, 5)
    assert ops.affinity_map(x.to("meta"), query=None, key=None, pairwise="gaussian").shape == (1, 11, 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairwise": "softmax"}, "embedded_gaussian"),
        ({"pairwise": "embedded_gaussian"}, "both query= and key="),
        ({"pairwise": "gaussian", "query": ops.Projection(torch.eye(4))}, "no query= and key="),
        ({"pairwise": "gaussian", "concat_weight": torch.zeros(1, 8)}, "concatenation"),
        ({"pairwise": "gaussian", "subsample": "during"}, "before"),
        ({"pairwise": "gaussian", "subsample": "after", "subsample_size": (1, 2, 2)}, "3 axes"),
        ({"pairwise": "gaussian", "value": ops.Projection(torch.eye(5))}, "value.weight"),
    ],
)
def test_wrong_arguments(options, message):
    projection = ops.Projection(torch.eye(4))
    with pytest.raises(ValueError, match=message):
        ops.non_local(torch.zeros(2, 4, 3, 3), **{"value": projection, "out": projection, **options})
