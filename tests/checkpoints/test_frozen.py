"""Files of every earlier version load, and give the outputs that they gave then."""

from __future__ import annotations

import pytest
import torch

import gcnet
from gcnet.checkpoints.document import Document
from gcnet.checkpoints.reader import read
from tests.blocks.cases import CASES
from tests.checkpoints.freeze import EXPECTED, FOLDER, HOSTS, Own, fill, freeze, run

FILES = sorted(path for path in FOLDER.glob("*/*.safetensors") if EXPECTED not in path.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_loads_with_the_same_outputs(path):
    document = Document.from_metadata(read(path).metadata)
    host = document.architecture.host
    if document.contents == "model":
        model = gcnet.load(path)
    else:
        if host is not None and host.name.startswith("timm:"):
            pytest.importorskip("timm")
        model = gcnet.load(path, fill(Own() if host is None else host.build("cpu")))
    expected = read(path.with_name(f"{path.stem}{EXPECTED}.safetensors")).tensors
    torch.testing.assert_close(run(model, expected["x"]), expected["y"], rtol=1e-9, atol=1e-9)


def test_this_version_is_frozen():
    """If this fails, run: python -m tests.checkpoints.freeze."""
    names = {path.stem for path in FILES if path.parent.name == gcnet.__version__.rpartition(".")[0]}
    assert names >= {*HOSTS, *(f"block_{case.name}" for case in CASES)}


def test_frozen_files_are_small():
    assert max(path.stat().st_size for path in FOLDER.glob("*/*")) < 32_000


def test_nothing_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.checkpoints.freeze.CASES", CASES[:1])
    monkeypatch.setattr("tests.checkpoints.freeze.HOSTS", {"own": HOSTS["own"]})
    assert freeze(tmp_path) == ["block_gc", "own"]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert freeze(tmp_path) == []
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
