from dataclasses import replace

import pytest
import torch

from gcnet.benchmarks import parity
from gcnet.benchmarks.cases import CASES, FORWARD, MODES, TRAINING, Case, select
from gcnet.benchmarks.peers import DEFAULTS, contestants
from gcnet.benchmarks.workload import build, call, inputs, result_names


def _distinct() -> list[Case]:
    """The registry in small without those that have become equal, such as networks, which are checked in float32."""
    small = [case.shrunk() for case in CASES]
    small = [replace(case, dtype=torch.float32) if case.op == "network" else case for case in small]
    return list({str({**vars(case), "label": "", "device": ""}): case for case in small}.values())


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)


def test_every_case_comes_in_both_modes_if_its_judge_fits_into_memory():
    for case in CASES:
        if case.op == "non_local" and case.positions > 10_000:
            continue
        assert {other.mode for other in CASES if (other.op, other.label) == (case.op, case.label)} == set(MODES)


@pytest.mark.parametrize("case", _distinct(), ids=lambda case: case.name)
def test_every_case_builds_runs_and_passes_parity(case):
    pytest.importorskip("torchvision")
    case, ours, given = parity.prepare(case, "cpu")
    made, absent = contestants(case, ours, DEFAULTS[case.op])
    assert "gcnet" in {one.name for one in made}
    assert set(absent) <= set(DEFAULTS[case.op])
    truth = parity.exact(case, ours, given)
    for one in made:
        if not one.floor:
            assert parity.check(case, one, truth, given) >= 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shrunk_keeps_what_makes_the_case(case):
    small = case.shrunk()
    assert small.name == case.name
    assert (small.op, small.mode, small.dtype, small.layout) == (case.op, case.mode, case.dtype, case.layout)
    assert len(small.shape) == len(case.shape)
    assert small.positions <= 64 * 64


def test_inputs_have_dtype_layout_and_gradient():
    (case,) = select(["gc/c4-bfloat16-channels_last/forward+backward"], "cpu")
    case = case.shrunk()
    first, second = inputs(case, "cpu", 2)
    assert first.x.dtype == first.upstream.dtype == torch.bfloat16
    assert first.x.is_contiguous(memory_format=torch.channels_last)
    assert first.x.requires_grad
    assert not torch.equal(first.x, second.x)
    assert torch.equal(inputs(case, "cpu")[0].x, first.x)


def test_a_call_returns_what_its_names_say_and_accumulates_nothing():
    (case,) = select(["gc/tiny/forward+backward"], "cpu")
    ours = build(case, "cpu")
    (given,) = inputs(case, "cpu")
    results = dict(zip(result_names(ours, case), call(ours, case, given), strict=True))
    assert results["input"].shape == given.x.shape
    assert set(results) == {"output", "input", *(name for name, _ in ours.named_parameters())}
    assert given.x.grad is None
    assert all(parameter.grad is None for parameter in ours.parameters())
    (forward,) = call(ours, select(["gc/tiny/forward"], "cpu")[0], given)
    assert torch.equal(forward, results["output"])
    assert not forward.requires_grad


def test_weights_are_the_same_every_time_and_none_is_zero():
    (case,) = select(["gc/tiny/forward"], "cpu")
    for first, second in zip(build(case, "cpu").parameters(), build(case, "cpu").parameters(), strict=True):
        assert torch.equal(first, second)
        assert first.abs().min() > 0


@pytest.mark.parametrize(
    ("op", "options", "mode", "passes"),
    [
        ("global_context", {}, FORWARD, 2),
        ("global_context", {}, TRAINING, 5),
        ("global_context", {"pooling": "average"}, TRAINING, 4),
        ("global_context", {"pooling": "average", "fusion": ("scale",)}, TRAINING, 5),
        ("squeeze_excite", {}, TRAINING, 5),
        ("non_local", {}, FORWARD, None),
    ],
)
def test_least_passes(op, options, mode, passes):
    assert Case(op, "x", (1, 8, 2, 2), mode, options).least_passes == passes


def test_select():
    names = [case.name for case in select(["gc/tiny/*", "se/c2/forward"], "cpu")]
    assert names == ["gc/tiny/forward", "gc/tiny/forward+backward", "se/c2/forward"]
    assert {case.device for case in select([], "cpu")} == {None, "cpu"}
    assert {case.device for case in select([], "cuda")} == {None, "cuda"}


def test_a_pattern_that_matches_nothing_names_the_nearest():
    with pytest.raises(ValueError, match=r"matches nothing on cpu\. Did you mean 'gc/tiny/forward'"):
        select(["gc/c2/*", "gc/tiny/foward"], "cpu")
