"""What is said, and what is not."""

import pytest

from gcnet.ablation.report.summary import summarise
from gcnet.ablation.report.words import findings, notes, warnings
from tests.ablation.made import make_key, make_rows, make_study, make_table

TABLE = make_table("none", "gc", none="baseline", gc="GC")
NONE = [0.80, 0.84, 0.82, 0.81, 0.83]


def read(gc, none=NONE, seeds=5, table=TABLE, **options):
    return summarise(make_study(table, range(seeds)), make_rows({"none": none, "gc": gc}), **options)


def shifted(*gains):
    return [base + gain for base, gain in zip(NONE, gains, strict=False)]


def test_supported_either_way():
    (found,) = findings(read(shifted(0.03, 0.04, 0.02, 0.03, 0.03)))
    assert found == "GC exceeds the baseline by 3.0 points [2.4, 3.6] over 5 shared seeds: supported."
    (found,) = findings(read(shifted(-0.03, -0.04, -0.02, -0.03, -0.03)))
    assert found == "GC falls short of the baseline by 3.0 points [2.4, 3.6] over 5 shared seeds: supported."


def test_not_told_apart():
    (found,) = findings(read(shifted(0.03, -0.02, 0.01, 0.0, -0.01)))
    assert found.startswith("GC: +0.2 points [\N{MINUS SIGN}1.2, 1.8] over 5 shared seeds: not told apart from the")


def test_a_loss_says_which_way_is_better():
    (found,) = findings(read(shifted(0.03, 0.04, 0.02, 0.03, 0.03), metric="val_loss"))
    assert found == "GC is better (lower) than the baseline by 0.030 [0.024, 0.036] over 5 shared seeds: supported."


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ((), "GC: no score, so no comparison."),
        ((0.03,), "GC: +3.0 points over 1 shared seed: no interval, nothing is supported."),
        ((0.02, 0.03), "GC: +2.5 points [2.0, 3.0] over 2 shared seeds: too few to support anything."),
    ],
)
def test_few_seeds_support_nothing_and_are_warned_of(gains, words):
    found = read(shifted(*gains))
    assert findings(found) == (words,)
    assert f"GC ({len(gains)})" in warnings(found)[0]


def test_three_seeds_support_weakly_and_without_a_warning():
    found = read(shifted(0.02, 0.03, 0.04), NONE[:3], seeds=3)
    assert findings(found)[0].endswith("over 3 shared seeds: supported, though by few seeds.")
    assert warnings(found) == ()


def test_no_shared_seed():
    found = read({0: 0.9}, {1: 0.8}, seeds=2)
    assert findings(found) == ("GC: no seed shared with the baseline, so no comparison.",)


def test_lost_runs_are_told_by_reason():
    study = make_study(TABLE, range(5))
    rows = make_rows({"none": NONE, "gc": shifted(0.1, 0.2)})
    found = summarise(study, rows, failures={make_key("gc", 3): "worker\ndied"})
    assert "GC: without a score: seeds 2, 4 missing; seed 3 failed: worker died." in warnings(found)
    assert any("seeds 2, 3, 4 left out of its difference" in note for note in notes(found))


def test_variants_that_were_not_run_are_named():
    study = make_study(make_table("none", "gc"), {"none": range(2)})
    assert "gc: not a run of this study." in warnings(summarise(study, make_rows({"none": [0.5, 0.6]})))


def test_several_comparisons_are_counted_each_pair_once():
    scores = {name: [0.1 * i + 0.01 * seed for seed in range(5)] for i, name in enumerate(("none", "after_add", "gc"))}
    told = " ".join(notes(summarise(make_study("position", range(5)), make_rows(scores))))
    assert "3 intervals of 95%" in told  # two to the baseline; of two claims, one is among them
    assert "83% of cases" in told
    assert "about 0.5 of these" in told
    assert "of few seeds" in " ".join(notes(read(NONE, level=0.9)))


def test_intervals_without_width_and_the_best_epoch():
    found = read([base + 0.5 for base in (0.25, 0.25, 0.25)], [0.25] * 3, seeds=3, metric="best")
    told = " ".join(notes(found))
    assert "GC: its 3 differences are all +50.0, so the interval has no width" in told
    assert "of the best epoch" in told


def test_the_papers_data_and_order_are_named_with_a_caution():
    scores = {name: [0.1 * index] for index, name in enumerate(("none", "1-nl", "1-gc", "gc"))}
    told = " ".join(notes(summarise(make_study("block", [0], task="video"), make_rows(scores))))
    assert "its table Kinetics, on Kinetics-400" in told
    assert "few variants, so this says little" in told
    assert "have five" in told
