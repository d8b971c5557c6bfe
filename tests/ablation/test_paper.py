"""The paper's tables by our names."""

import pytest

from gcnet.ablation.paper import Figure, published
from gcnet.ablation.standard import TABLES

TASKS = ("classification", "detection", "segmentation", "video")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", TABLES)
def test_rows_are_variants_of_ours_and_the_baseline_is_first(name, task):
    found = published(name, task)
    assert set(found.rows) <= {variant.name for variant in TABLES[name].variants}
    assert next(iter(found.rows)) == TABLES[name].baseline
    assert all(tuple(row.scores) == found.scores for row in found.rows.values())


@pytest.mark.parametrize(
    ("table", "task", "printed"),
    [
        ("block", "classification", "ImageNet (a)"),
        ("fusion", "classification", "ImageNet (b)"),
        ("ratio", "classification", "COCO (e)"),
        ("block", "video", "Kinetics"),
        ("fusion", "video", "COCO (f)"),
        ("block", "detection", "COCO (a)"),
        ("position", "detection", "COCO (b)"),
        ("stage", "segmentation", "COCO (c)"),
        ("bottleneck", "segmentation", "COCO (d)"),
    ],
)
def test_which_table_stands_beside_which_task(table, task, printed):
    assert published(table, task).printed == printed


def test_confirmed_and_quoted_figures_are_told_apart():
    rows = published("block", "detection").rows
    assert rows["none"].scores == {"box AP": Figure(37.2, "C"), "mask AP": Figure(33.8, "C")}
    assert rows["gc"].scores["mask AP"] == Figure(35.7, "C")
    assert rows["1-snl"].scores["box AP"] == Figure(38.1, "M")
    assert published("ratio", "detection").rows["r4"].scores["box AP"] == Figure(39.9, "C")
    assert published("block", "classification").rows["gc"].scores == {
        "top-1": Figure(77.7, "P"),
        "top-5": Figure(93.66, "M"),
    }


def test_costs_come_from_the_counted_tables():
    none = published("stage", "detection").rows["none"]
    assert (none.params, none.gflops) == (Figure(44.4, "A"), Figure(279.4, "M"))
    assert published("stage", "detection").rows["c5"].params == Figure(45.9, "M")  # counted 45.987
    nl = published("block", "classification").rows["1-nl"]
    assert (nl.params, nl.gflops) == (Figure(27.66, "A"), Figure(4.11, "M"))
    assert published("block", "video").rows["1-nl"].params.value == 39.81


def test_no_table_and_an_unknown_one():
    assert published("", "video") is None
    with pytest.raises(ValueError, match=r"paper='heads'.*block, position"):
        published("heads", "video")
