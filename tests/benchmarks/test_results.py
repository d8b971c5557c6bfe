import json

import pytest

from gcnet.benchmarks.cases import CASES
from gcnet.benchmarks.results import SCHEMA, describe, from_json, to_json
from tests.benchmarks import made_up


def test_round_trip():
    run = made_up.run()
    assert from_json(to_json(run)) == run


def test_json_holds_medians_quartiles_and_ratios_for_readers():
    document = json.loads(to_json(made_up.run()))
    assert document["schema"] == SCHEMA
    first, _, network = document["results"]
    assert first["timings"]["gcnet"]["ms"] == {"low": 1, "median": 1, "high": 1.5}
    assert first["timings"]["gcnet"]["times_ours"] is None
    assert first["timings"]["mmcv"]["times_ours"]["median"] == 3
    assert first["timings"]["mmcv"]["samples_ms"] == [3, 3, 6]
    assert first["share_of_copy"]["median"] == 0.5
    assert network["share_of_copy"] is None


def test_the_schema_is_what_this_version_says():
    """Whoever changes this list changes SCHEMA as well."""
    document = json.loads(to_json(made_up.run()))
    assert SCHEMA == 1
    assert sorted(document) == ["environment", "results", "schema", "settings"]
    assert sorted(document["environment"]) == [
        *("allocator", "capability", "commit", "cores", "cuda", "date", "driver", "gpu", "gpu_memory_gib", "load"),
        *("memory_gib", "processor", "system", "threads", "variables", "versions"),
    ]
    (entry, *_) = document["results"]
    assert sorted(entry) == ["absent", "case", "name", "share_of_copy", "timings"]
    assert sorted(entry["timings"]["mmcv"]) == ["error", "ms", "peak_bytes", "ran", "samples_ms", "times_ours"]
    assert sorted(entry["case"]) == sorted(describe(CASES[0]))


def test_share_of_copy_counts_the_least_traffic():
    training = made_up.result("gc/a/forward+backward", {"gcnet": [10.0] * 3, "copy": [2.0] * 3}, passes=5)
    assert training.share_of_copy.median == pytest.approx(0.5)
    assert made_up.result("gc/a/forward", {"gcnet": [1.0] * 3}).share_of_copy is None


@pytest.mark.parametrize("text", ["{}", "[]", '{"schema": 99}', "null"])
def test_another_schema_is_refused(text):
    with pytest.raises(ValueError, match="this version reads results of schema 1"):
        from_json(text)


@pytest.mark.parametrize("broken", ["results", "environment", "settings"])
def test_a_document_with_parts_missing_is_refused(broken):
    document = json.loads(to_json(made_up.run()))
    del document[broken]
    with pytest.raises(ValueError, match="not results of a benchmark"):
        from_json(json.dumps(document))


def test_every_case_can_be_written():
    for case in CASES:
        described = describe(case)
        assert json.loads(json.dumps(described)) == described
        assert described["dtype"] in ("float32", "bfloat16")
