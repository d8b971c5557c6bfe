"""Networks are built before anything trains."""

import pytest

pytest.importorskip("timm")

from gcnet.ablation.check import check_jobs, describe, first_of_each
from gcnet.ablation.table import Table, Variant
from tests.ablation import tiny


def bad(**changes):
    return Table("bad", "Bad", (tiny.TABLE["none"], Variant("a", "a", changes)), "none")


def test_every_variant_is_built_once(tmp_path, capsys):
    plan = tiny.plan(tmp_path)
    assert [job.label for job in first_of_each(plan.jobs)] == [job.label for job in plan.jobs[:3]]
    check_jobs(plan.jobs)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"block": "gc", "match": ("layre3.0",)}, "bad, a, seed 0: .*layre3.0"),
        ({"block": "nl", "ratio": 1 / 4, "match": ("layer3.0",), "block_options": ("pairwise=x",)}, "bad, a, seed 0"),
        ({"backbone": "timm:test_resnett"}, "bad, a, seed 0: backbone='timm:test_resnett'"),
        ({"batch_size": 400}, "bad, a, seed 0: batch_size=400"),
    ],
)
def test_what_does_not_fit_names_the_variant(tmp_path, changes, said):
    plan = tiny.plan(tmp_path, bad(**changes))
    jobs = [job for job in plan.jobs if "batch_size" not in changes or job.config.batch_size == 400]
    with pytest.raises(ValueError, match=said):
        check_jobs(jobs)


def test_data_and_network_in_a_line(tmp_path):
    tiny.photos(tmp_path / "photos")
    assert describe(tiny.config(tmp_path / "photos"), scenes=False) == (
        "photos, 8 training and 4 validation images of 2 classes; timm:test_resnet, 1 epochs, batches of 4"
    )
