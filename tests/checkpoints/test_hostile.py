"""Hostile and damaged files: a correct reading or our own error; nothing executed, nothing unbounded."""

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import tarfile
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.reader import read
from tests.checkpoints.files import FORMATS, WEIGHTS, torch_stream, torch_tar, torch_zip, zip_with_pickle

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)


def outcome(path, data):
    """The tensors in ``data``, or None if it is refused; any other end is a failure."""
    path.write_bytes(data)
    try:
        return read(path, max_bytes=10**6, allow_nan=True).tensors
    except CheckpointError:
        return None


@pytest.mark.parametrize("name", FORMATS)
def test_truncation_at_every_hundredth(name, tmp_path):
    data = FORMATS[name]()
    for part in range(100):
        tensors = outcome(tmp_path / "model.pth", data[: len(data) * part // 100])
        if name == "torch tar" and tensors is not None:  # tar files end in padding
            assert all(torch.equal(tensors[key], value) for key, value in WEIGHTS.items())
        else:
            assert tensors is None, part


def _flips(name, tmp_path, count):
    data, chance = FORMATS[name](), random.Random(0)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 4, 16))):
            changed[chance.randrange(len(data))] = chance.choice((0, 255, chance.randrange(256)))
        tensors = outcome(tmp_path / "model.pth", bytes(changed))
        assert tensors is None or all(isinstance(value, torch.Tensor) for value in tensors.values())


@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes(name, tmp_path):
    _flips(name, tmp_path, 300)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_changed_bytes_at_length(name, tmp_path):
    _flips(name, tmp_path, 20_000)


def test_changed_weights_in_a_zip_are_noticed(tmp_path):
    data = torch_zip({"w": torch.full((100,), 1.5)})
    place = data.index(struct.pack("<f", 1.5) * 100)
    for bit in range(0, 400, 7):
        changed = bytearray(data)
        changed[place + bit] ^= 1
        (tmp_path / "model.pth").write_bytes(bytes(changed))
        with pytest.raises(CheckpointError, match="its checksum is wrong"):
            read(tmp_path / "model.pth")


class _Call:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def _bombs(marker):
    touch = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": pickle.dumps(_Call(os.system, f"touch {marker}"), 2),
        "eval": pickle.dumps(_Call(eval, touch), 2),
        "exec": pickle.dumps({"state_dict": {"w": _Call(exec, touch)}}, 4),
        "getattr": pickle.dumps(_Call(getattr, "x", "__class__"), 2),
        "python 2 eval": b"\x80\x02c__builtin__\neval\nU\x01x\x85R.",
        "attribute of an allowed module": b"\x80\x02ctorch._utils\n_rebuild_tensor.__globals__\n.",
        "dotted name": pickle.dumps(0, 4)[:-1] + b"\x8c\x05torch\x8c\x0ehub.os.system\x94\x93.",
        "numpy that executes": b"\x80\x02cnumpy.testing._private.utils\nrunstring\n.",
        "torch that loads": b"\x80\x02ctorch.serialization\nload\n.",
        "torch tensor types": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n.",
        "extension": b"\x80\x02\x82\x01.",
        "instance": b"(ios\nsystem\n.",
        "protocol 0": f"cos\nsystem\n(S'touch {marker}'\ntR.".encode(),
    }


@pytest.mark.parametrize("bomb", _bombs(""))
def test_nothing_is_executed(bomb, tmp_path):
    marker = tmp_path / "executed"
    data = _bombs(marker)[bomb]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for name in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    for file in (data, MAGIC + data, zip_with_pickle(data), buffer.getvalue()):
        assert outcome(tmp_path / "model.pth", file) is None
        assert not marker.exists()


def _tuple_laughs():
    return b"\x80\x02})q\x00" + b"h\x00\x86q\x00" * 100 + b"K\x01s."


SPACE_AND_TIME = {
    "tuples that double, as a key": _tuple_laughs(),
    "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "deep tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
    "a far memo": b"\x80\x02]r\xff\xff\xff\xff.",
    "a long string": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a longer string": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
    "a large bytearray": b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "a range": b"\x80\x02c__builtin__\nset\nc__builtin__\nrange\nJ\xff\xff\xff\x7f\x85R\x85R.",
    "a text repeated": b"\x80\x02]q\x00(" + b"h\x00" * 1000 + b"e.",
    "a long integer as a key": b"\x80\x02}\x8b" + struct.pack("<i", 10**5) + b"\x01" * 10**5 + b"K\x01s.",
    "dictionaries that double": b"\x80\x02}q\x00" + b"}(U\x01ah\x00U\x01bh\x00uq\x00" * 100 + b".",
    "an empty stack": b"\x80\x02R.",
    "no stop": b"\x80\x02]",
    "state of a class": b"\x80\x02cargparse\nNamespace\n}U\x04nameK\x01sb.",
    "state of a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}U\x01aK\x01sb.",
    "state of a tensor": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNt R}U\x01aK\x01sb.",
    "a tensor of nothing": b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n(NNNNtRs.",
}


def test_naming_a_module_of_torch_does_not_import_it(tmp_path):
    data = zip_with_pickle(b"\x80\x02ctorch\nonnx\n.")
    (tmp_path / "model.pth").write_bytes(data)
    code = (
        "import sys; from gcnet.checkpoints.reader import read\n"
        "try: read(sys.argv[1])\n"
        "except ValueError: sys.exit('torch.onnx' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "model.pth")]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("name", SPACE_AND_TIME)
def test_time_and_memory_stay_bounded(name, tmp_path):
    for file in (zip_with_pickle(SPACE_AND_TIME[name]), MAGIC + SPACE_AND_TIME[name]):
        assert outcome(tmp_path / "model.pth", file) is None


def _declared(old, new, make=torch_zip):
    """The file of one tensor of 1000 elements, with a number in its pickle replaced."""
    data = make({"w": torch.arange(1000.0)})
    if make is torch_stream:
        assert old in data
        return data.replace(old, new)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickled = archive.read("archive/data.pkl")
        assert old in pickled
        extra = [("archive/data/0", archive.read("archive/data/0"))]
    return zip_with_pickle(pickled.replace(old, new), extra=extra)


@pytest.mark.parametrize("make", [torch_zip, torch_stream])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"M\xe8\x03", b"J\xff\xff\xff\x7f"),  # declared elements
        (b"M\xe8\x03", b"J\xff\xff\xff\xff"),
        (b"K\x00M\xe8\x03\x85", b"K\x01M\xe8\x03\x85"),  # offset
        (b"K\x00M\xe8\x03\x85", b"J\xff\xff\xff\xffM\xe8\x03\x85"),
        (b"K\x01\x85", b"K\x02\x85"),  # stride
        (b"K\x01\x85", b"J\xff\xff\xff\xff\x85"),
        (b"FloatStorage", b"DoubleStorage"),
    ],
)
def test_declared_sizes_are_checked_against_the_file(old, new, make, tmp_path):
    assert outcome(tmp_path / "model.pth", _declared(old, new, make)) is None


def test_expansion_is_bounded(tmp_path):
    for make in (torch_zip, torch_stream):
        assert outcome(tmp_path / "model.pth", make({"w": torch.ones(1).expand(10**5)})) is None
        many = {f"w{i}": torch.ones(1000).expand(60, 1000) for i in range(10)}
        assert outcome(tmp_path / "model.pth", make(many)) is None


@pytest.mark.parametrize("name", ["../outside", "/absolute/outside", "archive/../../outside", "archive\\..\\outside"])
def test_paths_out_of_an_archive(name, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    data = zip_with_pickle(pickle.dumps({}, 2), extra=[(name, b"x")])
    (folder / "model.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match="a path out of it"):
        read(folder / "model.pth")
    assert os.listdir(tmp_path) == ["inside"]


def test_links_and_paths_in_a_tar(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for name in ("storages", "tensors", "pickle", "../outside"):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    assert outcome(tmp_path / "model.pth", buffer.getvalue()) is None
    assert os.listdir(tmp_path) == ["model.pth"]


def test_overlapping_records(tmp_path):
    data = bytearray(zip_with_pickle(pickle.dumps({}, 2), extra=[("archive/data/0", bytes(100))]))
    places = [place for place in range(len(data)) if data[place : place + 4] == b"PK\1\2"]
    struct.pack_into("<I", data, places[-1] + 42, struct.unpack_from("<I", data, places[0] + 42)[0])
    (tmp_path / "model.pth").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="overlaps"):
        read(tmp_path / "model.pth")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(torch.ones(2)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUIET
@given(content=VALUES)
def test_any_content(content, tmp_path):
    for make in (torch_zip, torch_stream):
        outcome(tmp_path / "model.pth", make(content))


@QUIET
@given(content=st.dictionaries(st.text(min_size=1), VALUES))
def test_any_content_beside_weights(content, tmp_path):
    tensors = outcome(tmp_path / "model.pth", torch_zip({"meta": content, "state_dict": WEIGHTS}))
    assert tensors is not None
    assert tensors.keys() == WEIGHTS.keys()


OPCODES = [bytes([opcode]) for opcode in b"(.)]}NRabhqrtuseQoci2lKMJUXG\x80\x81\x85\x86\x87\x88\x89\x8a\x93\x94"]
FRAGMENTS = [
    *OPCODES,
    b"h\x00", b"q\x00", b"K\x01", b"U\x01a", b"X\x01\x00\x00\x00a", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n", b"cargparse\nNamespace\n", b"c__builtin__\nset\n",
    b"U\x07storage",
]  # fmt: skip


@QUIET
@given(fragments=st.lists(st.sampled_from(FRAGMENTS), max_size=60))
def test_any_opcodes(fragments, tmp_path):
    data = b"\x80\x02" + b"".join(fragments) + b"."
    outcome(tmp_path / "model.pth", zip_with_pickle(data, extra=[("archive/data/a", bytes(16))]))
    outcome(tmp_path / "model.pth", MAGIC + data)


@QUIET
@given(
    start=st.sampled_from([b"", b"PK\3\4", b"\x80\x02", b"\x10\0\0\0\0\0\0\0{", bytes(257) + b"ustar"]), end=st.binary()
)
def test_any_bytes(start, end, tmp_path):
    assert outcome(tmp_path / "model.pth", start + end) is None


def test_types_swapped_in_the_description_of_a_tensor(tmp_path):
    class Swapped:
        def __init__(self, *args):
            self.args = args

        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, self.args

    for args in [(1, 2, 3, 4), ("a", 0, (1,), (1,)), (None, None, None, None), ([], {}, (), ())]:
        assert outcome(tmp_path / "model.pth", torch_zip({"w": Swapped(*args, False, {})})) is None


def test_a_tar_of_a_tensor_beyond_its_storage(tmp_path):
    data = torch_tar({"w": WEIGHTS["conv.weight"]}, {"w": WEIGHTS["conv.weight"]})
    numbers = struct.pack("<4q", 2, 3, 2, 2)
    assert numbers in data
    assert outcome(tmp_path / "model.pth", data.replace(numbers, struct.pack("<4q", 2, 3, 2, 2**40))) is None
