"""Rows that were not made alike."""

import pytest

from gcnet.ablation.report.provenance import mixtures
from tests.ablation.made import make_row, make_study, make_table

STUDY = make_study(make_table("none", "gc"), range(2))


def mixed(*, none=(), **fields):
    return mixtures(STUDY, {"none": [make_row("none", 0), *none], "gc": [make_row("gc", 0, **fields)]})


def test_rows_made_alike():
    assert mixed() == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sources": "s2"}, "2 sources of gcnet: s1 (none); s2 (gc)"),
        ({"versions": {"gcnet": "0.1.0", "torch": "2.12.0"}}, "2 versions of torch: 2.11.0 (none); 2.12.0 (gc)"),
        ({"threads": 2}, "2 numbers of threads: 1 (none); 2 (gc)"),
        ({"data": "d2"}, "2 data sets: d1 (none); d2 (gc)"),
        ({"input_shape": (1, 3, 32, 32)}, "2 input shapes"),
        (
            {"hardware": {"device": "H200", "cores": 1}},
            "2 kinds of hardware: a processor, cores 2, machine x86_64 (none)",
        ),
    ],
)
def test_what_differs_is_named_with_its_variants(fields, words):
    (sentence,) = mixed(**fields)
    assert words in sentence


def test_sizes_differ_between_variants_but_not_within_one():
    assert mixed(parameters=1) == ()
    (sentence,) = mixed(none=[make_row("none", 1, parameters=1)])
    assert "2 sizes of none" in sentence


def test_a_block_of_another_library_has_sources_of_its_own():
    assert mixed(sources="s2", config={"block": "timm.layers:EcaModule"}) == ()


def test_other_data_than_the_study_says():
    rows = {name: [make_row(name, 0, data="d9")] for name in ("none", "gc")}
    assert mixtures(STUDY, rows) == ("Rows have the data d9, the study has d1.",)
