"""Files that are no checkpoints: each error says what the file is."""

import gzip
import io
import lzma
import pickle
import zipfile

import numpy as np
import pytest
import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.reader import read
from tests.checkpoints.files import safetensors_file, torch_zip, zip_with_pickle


def _npz():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


def _torchscript():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def _onnx():
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    return onnx.helper.make_model(graph, producer_name="pytorch").SerializeToString()


OTHERS = {
    "empty": (lambda: b"", "is empty"),
    "html": (lambda: b"\n<!DOCTYPE html><html><body>404", "a web page"),
    "lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "git lfs pull"),
    "gzip": (lambda: gzip.compress(torch_zip()), "gunzip"),
    "xz": (lambda: lzma.compress(torch_zip()), "unxz"),
    "npz": (_npz, "holds no data.pkl"),
    "npy": (lambda: b"\x93NUMPY\1\0", "a NumPy array"),
    "hdf5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "torchscript": (_torchscript, "a TorchScript archive"),
    "onnx": (_onnx, "an ONNX model"),
    "pickle": (lambda: pickle.dumps({"a": 1}), "a plain pickle"),
    "text": (lambda: b"hello there, this is text", "no checkpoint: it begins with"),
    "json": (lambda: b'{"a": 1}', "no checkpoint"),
    "zip": (lambda: zip_with_pickle(b"", root="a/b"), "holds no data.pkl"),
    "empty zip": (lambda: b"PK\5\6" + bytes(18), "holds no data.pkl"),
    "compressed zip": (lambda: zip_with_pickle(bytes(10**6), compression=zipfile.ZIP_DEFLATED), "compressed"),
    "safetensors without its end": (lambda: safetensors_file()[:-3], "truncated or corrupt"),
    "safetensors without its header": (lambda: safetensors_file()[:60], "truncated or corrupt"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_named(name, tmp_path):
    make, message = OTHERS[name]
    (tmp_path / "model.pth").write_bytes(make())
    with pytest.raises(CheckpointError, match=message) as raised:
        read(tmp_path / "model.pth")
    assert str(tmp_path / "model.pth") in str(raised.value)


def test_folders_and_missing_files(tmp_path):
    with pytest.raises(CheckpointError, match="a folder"):
        read(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        read(tmp_path / "missing.pth")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read("/dev/zero")
