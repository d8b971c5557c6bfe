import pytest
import torch

from gcnet.benchmarks.cases import select
from gcnet.benchmarks.parity import NULL, ParityError, check, exact, prepare
from gcnet.benchmarks.peers import contestant
from gcnet.benchmarks.workload import build, inputs


def _prepared(name):
    (case,) = select([name], "cpu")
    case, ours, given = prepare(case.shrunk(), "cpu")
    return case, ours, given, exact(case, ours, given)


def test_a_wrong_output_is_refused():
    case, ours, given, truth = _prepared("gc/tiny/forward")
    wrong = contestant("published", case, ours)
    with torch.no_grad():
        wrong.module.add.expand.bias.add_(0.01)
    message = r"gc/tiny/forward: published computes something else: error .* of its output, tolerance 3e-05 in float32"
    with pytest.raises(ParityError, match=message):
        check(case, wrong, truth, given)


@pytest.mark.parametrize("name", ["gc/tiny/forward+backward", "gc/c2-bfloat16/forward+backward"])
@pytest.mark.parametrize("parameter", ["key.weight", "add.norm.bias"])
def test_a_wrong_gradient_is_refused(name, parameter):
    case, ours, given, truth = _prepared(name)
    wrong = contestant("published", case, ours)
    wrong.module.get_parameter(parameter).register_hook(lambda gradient: 1.5 * gradient)
    with pytest.raises(ParityError, match=f"of its gradient of {parameter}, tolerance"):
        check(case, wrong, truth, given)


def test_a_nan_is_refused():
    case, ours, given, truth = _prepared("gc/tiny/forward")
    wrong = contestant("published", case, ours)
    torch.nn.init.constant_(wrong.module.add.expand.bias, float("nan"))
    with pytest.raises(ParityError, match="error nan"):
        check(case, wrong, truth, given)


def test_a_gradient_that_is_zero_by_mathematics_is_judged_by_the_upstream_gradient():
    case, ours, given, truth = _prepared("gc/tiny/forward+backward")
    assert truth["key.bias"].norm() < NULL * given.upstream.norm()
    wrong = contestant("published", case, ours)
    wrong.module.key.bias.register_hook(lambda gradient: gradient + 0.1)
    with pytest.raises(ParityError, match=r"gradient of key\.bias"):
        check(case, wrong, truth, given)


def test_a_wrong_block_in_a_network_is_refused():
    pytest.importorskip("torchvision")
    case, ours, given, truth = _prepared("network/resnet50-batch8/forward")
    wrong = contestant("published", case, ours)
    with torch.no_grad():
        wrong.module.layer4[0].context_block.add.expand.bias.add_(1.0)
    with pytest.raises(ParityError, match=r"of its output, tolerance 1e-05"):
        check(case, wrong, truth, given)


def test_samples_are_judged_one_by_one():
    _, ours, given, truth = _prepared("gc/c2/forward+backward")
    assert truth["output"].shape == truth["input"].shape == given.x.shape
    assert truth["output"].dtype == torch.float64
    whole = ours.double()(given.x.double())
    assert torch.allclose(whole, truth["output"])


def test_the_published_form_judges_where_the_reference_would_not_fit(monkeypatch):
    (case,) = select(["nl/dot-p784/forward+backward"], "cpu")
    case = case.shrunk()
    ours = build(case, "cpu")
    (given,) = inputs(case, "cpu")
    expected = exact(case, ours, given)
    monkeypatch.setattr("gcnet.benchmarks.parity._REFERENCE_LIMIT", 0)
    for name, value in exact(case, ours, given).items():
        assert (value - expected[name]).norm() <= 1e-12 * max(expected[name].norm(), given.upstream.norm()), name
    assert type(ours).__name__ == "NonLocal"


def test_ours_must_be_closer_in_half_precision_than_others():
    case, ours, given, truth = _prepared("gc/c2-bfloat16/forward")
    others = contestant("published", case, ours)
    with torch.no_grad():
        others.module.add.expand.bias.add_(0.05)
    assert 0.01 < check(case, others, truth, given) < 0.2
    others.name = "eager"
    with pytest.raises(ParityError, match=r"tolerance 0\.01 in bfloat16"):
        check(case, others, truth, given)
