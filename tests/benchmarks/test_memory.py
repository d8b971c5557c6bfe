import pytest
import torch

from gcnet.benchmarks.cases import select
from gcnet.benchmarks.memory import peak_bytes
from gcnet.benchmarks.workload import build, call, inputs


def test_what_is_freed_in_between_counts_once():
    x = torch.zeros(1000)

    def three_one_after_the_other():
        for _ in range(3):
            y = torch.empty(1000)
            del y

    assert peak_bytes(three_one_after_the_other, "cpu") == 4000
    assert peak_bytes(lambda: [torch.empty(1000) for _ in range(3)], "cpu") == 12000
    assert peak_bytes(lambda: x.zero_(), "cpu") == 0


@pytest.mark.parametrize("name", ["forward", "forward+backward"])
def test_a_call_holds_its_output_at_least(name):
    (case,) = select([f"gc/c2/{name}"], "cpu")
    case = case.shrunk()
    ours = build(case, "cpu")
    (given,) = inputs(case, "cpu")
    assert peak_bytes(lambda: call(ours, case, given), "cpu") >= given.x.nbytes
