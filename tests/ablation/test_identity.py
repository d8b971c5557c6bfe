"""What decides on the name of a run."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from gcnet.ablation.bases import base_of
from gcnet.ablation.identity import data_fingerprint, run_key, source_hash

CONFIG = base_of("classification").config


def key(**changes):
    return run_key(dataclasses.replace(CONFIG, **changes), sources="s", data="d")


@pytest.mark.parametrize("changes", [{"seed": 1}, {"threads": 2}, {"lr": 1e-3}, {"epochs": 6}, {"batch_size": 16}])
def test_what_counts(changes):
    assert key(**changes) != key()


@pytest.mark.parametrize("changes", [{"data": Path("b")}, {"out": Path("b")}, {"workers": 3}, {"loggers": ()}])
def test_what_does_not_count(changes):
    assert key(**changes) == key()


def test_sources_and_data_count():
    assert len({key(), run_key(CONFIG, sources="t", data="d"), run_key(CONFIG, sources="s", data="e")}) == 3


def test_a_block_of_another_library_brings_its_source():
    foreign = dataclasses.replace(CONFIG, block="timm.layers:EcaModule", stages=("c3",))
    assert source_hash(foreign) != source_hash(CONFIG)


def test_data_may_move_but_not_change(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.txt").write_text("one")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert data_fingerprint(tmp_path / "a") == data_fingerprint(tmp_path / "b")
    (tmp_path / "b" / "1.txt").rename(tmp_path / "b" / "2.txt")
    assert data_fingerprint(tmp_path / "a") != data_fingerprint(tmp_path / "b")


def test_missing_data_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data_fingerprint(tmp_path / "nowhere")
