"""What the paper says of two variants, checked."""

import pytest

from gcnet.ablation.paper import published
from gcnet.ablation.report.claims import CLAIMS, check_claims
from gcnet.ablation.standard import TABLES


def verdicts(paper, scores, lower_is_better=False):
    by_seed = {name: dict(enumerate(values)) for name, values in scores.items()}
    found = check_claims(paper, by_seed, level=0.95, lower_is_better=lower_is_better)
    return {(each.claim.first, each.claim.second): each.verdict for each in found}


@pytest.mark.parametrize("name", TABLES)
def test_claims_are_about_variants_and_follow_the_printed_figures(name):
    rows = published(name, "detection").rows
    for claim in CLAIMS[name]:
        assert TABLES[name][claim.first] != TABLES[name][claim.second]
        gain = rows[claim.first].scores["box AP"].value - rows[claim.second].scores["box AP"].value
        assert abs(gain) < 0.15 if claim.alike else gain > 0.2


def test_agrees_contradicts_and_not_told_apart():
    scores = {"r4": [0.9, 0.9, 0.9], "gc": [0.91, 0.92, 0.93], "r32": [0.9, 0.8, 0.7]}
    assert verdicts("ratio", scores) == {
        ("r4", "r32"): "not told apart",
        ("r4", "gc"): "contradicts",
        ("gc", "r32"): "agrees",
    }


def test_lower_is_better():
    assert verdicts("ratio", {"r4": [0.1, 0.2, 0.3], "r32": [0.4, 0.5, 0.7]}, True) == {("r4", "r32"): "agrees"}


def test_alike_differ_by_a_supported_difference_either_way():
    alike = ("after_add", "gc")
    for other, verdict in (([0.9] * 3, "differs"), ([0.1] * 3, "differs"), ([0.4, 0.5, 0.6], "not told apart")):
        assert verdicts("position", {"gc": [0.5] * 3, "after_add": other})[alike] == verdict


def test_two_seeds_tell_nothing_apart_and_none_compare_nothing():
    assert verdicts("ratio", {"r4": [0.9, 0.9], "r32": [0.1, 0.1]}) == {("r4", "r32"): "not told apart"}
    assert verdicts("ratio", {"r4": [0.9], "r32": []}) == {("r4", "r32"): "not compared"}
    assert verdicts("", {"r4": [0.9], "r32": [0.1]}) == {}
