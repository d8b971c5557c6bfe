"""Every format gives the tensors that went in; every other file an error that says what it is."""

import subprocess
import sys

import pytest
import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.reader import read
from tests.checkpoints.files import CONTENT, FORMATS, WEIGHTS, safetensors_file, torch_zip


def same(tensors, expected):
    assert tensors.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(tensors[key], value), key
        assert tensors[key].dtype == value.dtype
        assert tensors[key].is_contiguous()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_told_by_content_not_by_name(name, tmp_path):
    path = tmp_path / "weights.jpg"
    path.write_bytes(FORMATS[name]())
    contents = read(path)
    assert contents.format == name
    same(contents.tensors, WEIGHTS)
    if name != "safetensors":
        assert contents.metadata == {"epoch": 12, "meta": {"CLASSES": ["cat", "dog"], "mmcv_version": "1.3.8"}}


@pytest.mark.parametrize(("name", "weights_only"), [("torch zip", True), ("torch stream", True), ("torch tar", False)])
def test_reads_what_torch_itself_reads(name, weights_only, tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(FORMATS[name]())
    same(read(path).tensors, torch.load(path, weights_only=weights_only)["state_dict"])


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_of_python_3(protocol, tmp_path):
    (tmp_path / "model.pth").write_bytes(torch_zip(pickle_protocol=protocol))
    same(read(tmp_path / "model.pth").tensors, WEIGHTS)


@pytest.mark.parametrize(
    "dtype",
    ["float64", "bfloat16", "bool", "uint8", "int8", "int32", "complex64", "uint16", "uint32", "float8_e4m3fn"],
)
def test_every_dtype(dtype, tmp_path):
    dtype = getattr(torch, dtype)
    value = torch.arange(6).reshape(2, 3).to(dtype)
    path = tmp_path / "model.pth"
    torch.save({"w": value}, path)
    read_back = read(path).tensors["w"]
    assert read_back.dtype == dtype
    assert read_back.view(torch.uint8).equal(value.view(torch.uint8))


def test_parameters_views_and_tied_weights(tmp_path):
    big = torch.arange(100.0)
    weights = {
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "view": big[10:20],
        "tied": big[10:20],
        "expanded": torch.ones(1, 3).expand(4, 3),
    }
    for new in (True, False):
        torch.save(weights, tmp_path / "model.pth", _use_new_zipfile_serialization=new)
        tensors = read(tmp_path / "model.pth").tensors
        same(tensors, {key: value.detach().contiguous() for key, value in weights.items()})
        assert tensors["view"].untyped_storage().nbytes() == 40


def test_safetensors_texts_are_metadata(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors_file(metadata={"epoch": "3"}))
    assert read(tmp_path / "model.safetensors").metadata == {"epoch": "3"}


def test_safetensors_missing_is_said(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(safetensors_file())
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(CheckpointError, match=r"pip install \"gcnet\[models\]\""):
        read(tmp_path / "model.safetensors")


def test_a_mapping_is_read_as_a_file_would_be():
    contents = read(CONTENT)
    same(contents.tensors, WEIGHTS)
    assert contents.format == "state dict"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_weights_that_are_no_numbers_are_named(value, dtype):
    weights = {"fine": torch.ones(2), "fc.bias": torch.tensor([1.0, value, value]).to(dtype)}
    with pytest.raises(CheckpointError, match=r"fc.bias: 2 of 3 values are NaN or infinite"):
        read(weights)
    assert read(weights, allow_nan=True).tensors["fc.bias"].shape == (3,)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.empty(2, device="meta"), "meta"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8), "quantized"),
    ],
    ids=["sparse", "meta", "quantized"],
)
def test_tensors_that_are_no_dense_values_are_named(value, kind, tmp_path):
    with pytest.raises(CheckpointError, match=f"head.weight: a {kind}"):
        read({"head.weight": value, "fine": torch.ones(1)})
    torch.save({"head.weight": value, "fine": torch.ones(1)}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=f"head.weight: a {kind}"):
        read(tmp_path / "model.pth")


@pytest.mark.parametrize("key", [3, "", "x" * 2000])
def test_keys_are_strings_of_sane_length(key):
    with pytest.raises(CheckpointError, match="keys of tensors are strings"):
        read({key: torch.ones(1)})


def test_sizes_are_bounded(tmp_path):
    (tmp_path / "model.pth").write_bytes(torch_zip())
    with pytest.raises(CheckpointError, match="more than max_bytes=100"):
        read(tmp_path / "model.pth", max_bytes=100)
    with pytest.raises(CheckpointError, match="the tensors take more than max_bytes=100"):
        read(WEIGHTS, max_bytes=100)


@pytest.mark.parametrize("source", [3, None, b"model.pth", torch.ones(2)])
def test_other_sources_are_refused(source):
    with pytest.raises(CheckpointError, match="give a path, a URL or a mapping"):
        read(source)


def test_other_protocols_are_refused():
    with pytest.raises(CheckpointError, match="only http:// and https://"):
        read("s3://bucket/model.pth")


def test_a_hash_is_checked(tmp_path):
    (tmp_path / "model.pth").write_bytes(torch_zip())
    with pytest.raises(CheckpointError, match="its sha256 is"):
        read(tmp_path / "model.pth", sha256="0" * 64)
    with pytest.raises(CheckpointError, match="8 to 64 hexadecimal digits"):
        read(tmp_path / "model.pth", sha256="xyz")


def test_the_package_does_not_load_it():
    code = "import sys, gcnet; sys.exit(any(name.startswith('gcnet.checkpoints') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
