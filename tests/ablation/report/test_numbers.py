"""How many digits are printed."""

import pytest

from gcnet.ablation.report.numbers import Scale, scale_of
from gcnet.ablation.report.summary import summarise
from tests.ablation.made import make_rows, make_study, make_table


@pytest.mark.parametrize(("step", "scale"), [(0.02, Scale(100, 1)), (0.001, Scale(100, 2)), (0.0, Scale(100, 1))])
def test_narrow_intervals_take_a_digit_more(step, scale):
    scores = {"none": [0.5] * 3, "gc": [0.6, 0.6 + step, 0.6 + 2 * step]}
    assert scale_of(summarise(make_study(make_table("none", "gc"), range(3)), make_rows(scores))) == scale


def test_nothing_is_minus_zero():
    assert Scale(100, 1).signed(-0.0001) == "0.0"
    assert Scale(100, 1).signed(-0.001) == "\N{MINUS SIGN}0.1"
