"""Numbers of a summary against numpy, and every way in which runs can be lost."""

import dataclasses

import numpy as np
import pytest

from gcnet.ablation.report.summary import summarise
from tests.ablation.made import make_key, make_row, make_rows, make_study, make_table

SCORES = {"none": [0.80, 0.84, 0.82], "gc": [0.86, 0.87, 0.88]}
TABLE = make_table("none", "gc")


def test_mean_deviation_and_difference():
    found = summarise(make_study(TABLE, range(3)), make_rows(SCORES))
    for name, scores in SCORES.items():
        assert found[name].mean == pytest.approx(np.mean(scores))
        assert found[name].deviation == pytest.approx(np.std(scores, ddof=1))
        assert dict(found[name].values) == dict(enumerate(scores))
    assert found["gc"].difference.mean == pytest.approx(0.05)
    assert found.baseline.difference is None
    assert (found.metric, found.points, found.lower_is_better, found.mixed) == ("val_top1", True, False, ())


def test_costs_are_medians_over_runs():
    rows = {}
    for seed, ratio in enumerate([(1.0, 1.2, 1.3), (0.9, 1.0, 1.4), (1.1, 1.1, 1.2)]):
        row = make_row(
            "gc", seed, latency_ratio=ratio, memory_mb=900 + seed, seconds=50.0 + seed**2, added_parameters=7
        )
        rows[row.key] = row
    costs = summarise(make_study(TABLE, range(3)), rows)["gc"].costs
    assert costs.latency_ratio == (1.0, 1.1, 1.3)
    assert (costs.memory_mb, costs.seconds) == (901, 51)
    assert (costs.parameters, costs.added, costs.macs) == (700_000, 7, 12_000_000)


def test_lost_runs_are_named_and_left_out():
    rows = make_rows({"none": SCORES["none"], "gc": [0.86, float("nan")]})
    rows[make_key("gc", 1)].metrics["val_top1"] = float("nan")
    study = make_study(TABLE, range(4))
    found = summarise(study, rows, failures={make_key("gc", 3): "out of memory"})
    assert found["gc"].lost == {1: "val_top1 is nan", 2: "missing", 3: "failed: out of memory"}
    assert found["none"].lost == {3: "missing"}
    assert found["gc"].difference.left_out == (1, 2)
    assert found["gc"].deviation is None
    assert [run.lost for run in found.runs if run.variant == "gc"] == ["", *found["gc"].lost.values()]


def test_rows_of_other_studies_are_passed_over():
    rows = make_rows({**SCORES, "se": [0.1]})
    assert [each.name for each in summarise(make_study(TABLE, range(3)), rows).variants] == ["none", "gc"]


def test_variants_without_runs_stay_in_the_table():
    study = make_study(make_table("none", "gc", "se"), {"none": range(3), "gc": range(3)})
    found = summarise(study, make_rows(SCORES))
    assert (found["se"].mean, found["se"].costs, found["se"].difference, found["se"].lost) == (None, None, None, {})


def test_without_a_baseline_there_is_no_difference():
    found = summarise(make_study(TABLE, range(3)), make_rows({"gc": SCORES["gc"]}))
    assert found.baseline.mean is None
    assert found["gc"].difference is None


def test_lower_is_better_for_losses():
    found = summarise(make_study("ratio", range(3)), make_rows({"r4": [0.9] * 3, "r32": [0.8] * 3}), metric="val_loss")
    assert (found.lower_is_better, found.points) == (True, False)
    assert found["r4"].mean == pytest.approx(0.1)
    assert found.claims[0].verdict == "agrees"


def test_scores_beyond_one_are_no_shares():
    rows = make_rows(SCORES)
    rows = {key: dataclasses.replace(row, metrics={"speed": 3.0}, score="speed") for key, row in rows.items()}
    assert not summarise(make_study(TABLE, range(3)), rows).points


def test_errors_name_what_there_is():
    study, rows = make_study(TABLE, range(3)), make_rows(SCORES)
    with pytest.raises(ValueError, match=r"metric='top1'.*best, val_loss, val_top1"):
        summarise(study, rows, metric="top1")
    with pytest.raises(ValueError, match=r"level=95 .*0.95"):
        summarise(study, rows, level=95)
    with pytest.raises(ValueError, match=r"no finished run yet; 'gcnet ablate made"):
        summarise(study, {})
    with pytest.raises(ValueError, match=r"no finished run of .* has a finite value"):
        summarise(study, make_rows({"gc": [float("nan")]}))
    with pytest.raises(KeyError, match="none, gc"):
        summarise(study, rows)["se"]


def test_a_higher_level_is_wider():
    study, rows = make_study(TABLE, range(3)), make_rows({"none": [0.8] * 5, "gc": [0.81, 0.83, 0.82, 0.85, 0.86]})
    widths = [summarise(study, rows, level=level)["gc"].difference.width for level in (0.5, 0.9)]
    assert widths[0] < widths[1]


def test_order_of_the_paper():
    means = {"none": 0.70, "r4": 0.90, "r8": 0.85, "gc": 0.80, "r32": 0.75}
    study = make_study("ratio", [0])
    found = summarise(study, make_rows({name: [mean] for name, mean in means.items()}))
    assert (found.paper.printed, found.paper_score, found.tau, found.ranked) == ("COCO (e)", "box AP", 1.0, 5)
    turned = summarise(study, make_rows({name: [1 - mean] for name, mean in means.items()}))
    assert turned.tau == -1


def test_score_of_the_paper_follows_the_metric():
    rows = make_rows({"none": [0.5]})
    rows = {key: dataclasses.replace(row, metrics={"val_box_ap": 0.3, "val_mask_ap": 0.2}) for key, row in rows.items()}
    study = make_study("block", [0], task="detection")
    scores = [summarise(study, rows, metric=metric).paper_score for metric in ("val_box_ap", "val_mask_ap")]
    assert scores == ["box AP", "mask AP"]
    rows = {key: dataclasses.replace(row, metrics={"val_top5": 0.3}) for key, row in rows.items()}
    assert summarise(make_study("block", [0]), rows, metric="val_top5").paper_score == "top-5"
