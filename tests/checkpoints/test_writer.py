"""Files appear whole or not at all."""

import os
import signal
import stat

import pytest
import torch

from gcnet.checkpoints import writer
from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.reader import read
from gcnet.checkpoints.writer import write

BASE = torch.arange(6.0).reshape(2, 3)
WEIGHTS = {"a": BASE, "tied": BASE, "transposed": BASE.t(), "view": BASE[1], "n": torch.tensor(3)}


@pytest.mark.parametrize("suffix", writer.SUFFIXES)
def test_what_is_written_is_read(suffix, tmp_path):
    path = write(tmp_path / f"model{suffix}", WEIGHTS, {"gcnet": "0.2", "spec": "{}"})
    contents = read(path)
    assert contents.metadata == {"gcnet": "0.2", "spec": "{}"}
    assert contents.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(contents.tensors[key], value) for key, value in WEIGHTS.items())
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_mask()


def _mask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_existing_file_is_replaced_on_request_only(tmp_path):
    path = write(tmp_path / "model.pth", {"a": BASE})
    path.chmod(0o640)
    with pytest.raises(CheckpointError, match="exists"):
        write(path, {"b": BASE})
    assert list(read(path).tensors) == ["a"]
    write(path, {"b": BASE}, overwrite=True)
    assert list(read(path).tensors) == ["b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("suffix", writer.SUFFIXES)
def test_a_full_disk_is_named(suffix, tmp_path):
    resource = pytest.importorskip("resource")
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=rf"model\{suffix}: cannot be written"):
            write(tmp_path / f"model{suffix}", {"a": torch.zeros(100, 100)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["fsync", "torch.save"])
def test_a_failure_leaves_the_old_file_and_nothing_else(step, tmp_path, monkeypatch):
    path = write(tmp_path / "model.pth", {"a": BASE})
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else torch, step.rpartition(".")[2], fail)
    with pytest.raises(CheckpointError, match="No space left"):
        write(path, {"b": BASE}, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pth"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "tensors", "metadata", "message"),
    [
        ("model.bin", {}, {}, "ends in '.bin'"),
        ("missing/model.pth", {}, {}, "does not exist"),
        ("model.pth", {"a": 1}, {}, "a: a int"),
        ("model.pth", {"a": BASE}, {"epoch": 3}, r"metadata\['epoch'\] is a int"),
        ("model.pth", {"a": BASE}, {"state_dict": "x"}, r"metadata\['state_dict'\]"),
        ("model.safetensors", {"a": BASE.to_sparse()}, {}, "a: a sparse"),
    ],
)
def test_errors(name, tensors, metadata, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        write(tmp_path / name, tensors, metadata)
    assert not list(tmp_path.iterdir())
