import sys

import pytest
import torch
from torch import nn

from gcnet.benchmarks.cases import Case, select
from gcnet.benchmarks.peers import DEFAULTS, FLOORS, InapplicableError, contestant, contestants, peers
from gcnet.benchmarks.workload import build, call, inputs
from gcnet.ops.backend import BACKENDS


def _small(name: str) -> Case:
    (case,) = select([name], "cpu")
    return case.shrunk()


def test_every_name_that_is_asked_by_default_exists():
    assert {name for names in DEFAULTS.values() for name in names} <= set(peers())
    assert set(FLOORS) | set(BACKENDS) <= set(peers())


@pytest.mark.parametrize(
    ("name", "case", "reason"),
    [
        ("mmcv", "gc/video/forward", "4-D maps only"),
        ("timm", "gc/video/forward", "4-D maps only"),
        ("timm", "nl/dot-p784/forward", "BatchNorm"),
        ("torchvision", "gc/c2/forward", "squeeze-and-excitation only"),
        ("mmcv", "se/c2/forward", "no squeeze-and-excitation"),
        ("plain", "se/c2/forward", "floor of a block is copy"),
        ("onnx", "gc/c2/forward+backward", "run forward"),
        ("onnx", "gc/c3-channels_last/forward", "contiguous float32"),
        ("aoti", "se/c2/forward+backward", "run forward"),
        ("copy", "network/resnet50-batch8/forward", "floor of a network is plain"),
    ],
)
def test_a_contestant_that_does_not_apply_says_why(name, case, reason):
    pytest.importorskip("torchvision")
    pytest.importorskip("timm")
    if name == "mmcv":
        pytest.importorskip("mmcv")
    small = _small(case)
    made, absent = contestants(small, build(small, "cpu"), [name])
    assert [one.name for one in made] == ["gcnet"]
    assert reason in absent[name]


def test_pairs_beyond_memory_are_not_laid_out():
    pytest.importorskip("mmcv")
    (case,) = select(["nl/concat-p6272/forward"], "cpu")
    with pytest.raises(InapplicableError, match="would lay out 38 GiB"):
        contestant("mmcv", case, build(case, "cpu"))


@pytest.mark.parametrize(
    ("name", "module", "case"),
    [
        ("mmcv", "mmcv.cnn.bricks", "gc/tiny/forward"),
        ("timm", "timm.layers", "se/c2/forward"),
        ("torchvision", "torchvision.ops.misc", "se/c2/forward"),
    ],
)
def test_a_contestant_that_is_not_installed_says_so(name, module, case, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    small = _small(case)
    with pytest.raises(InapplicableError, match="not installed: pip install"):
        contestant(name, small, build(small, "cpu"))


def test_peers_stand_where_our_blocks_stood():
    mmcv = pytest.importorskip("mmcv.cnn.bricks")
    pytest.importorskip("torchvision")
    small = _small("network/resnet50-batch8/forward")
    ours = build(small, "cpu")
    theirs = contestant("mmcv", small, ours).module
    paths = [path for path, _ in ours.named_modules() if path.endswith(".context_block")]
    assert len(paths) == 3
    for path in paths:
        assert isinstance(theirs.get_submodule(path), mmcv.ContextBlock)
        assert not isinstance(ours.get_submodule(path), mmcv.ContextBlock)
    plain = contestant("plain", small, ours).module
    assert not any("context_block" in name for name, _ in plain.named_modules())
    (given,) = inputs(small, "cpu")
    assert not torch.allclose(call(plain, small, given)[0], call(ours, small, given)[0])


@pytest.mark.parametrize("name", BACKENDS)
def test_our_implementations_are_forced_by_name(name):
    from gcnet.ops import backend as module

    small = _small("gc/tiny/forward")
    one = contestant(name, small, build(small, "cpu"))
    with one.scope():
        assert sys.modules[module.__module__]._forced == name


def test_copy_copies():
    small = _small("gc/tiny/forward")
    (given,) = inputs(small, "cpu")
    (copied,) = call(contestant("copy", small, build(small, "cpu")).module, small, given)
    assert torch.equal(copied, given.x)
    assert copied.data_ptr() != given.x.data_ptr()


def test_compile_compiles_the_published_form(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: seen.append(module) or module)
    small = _small("gc/tiny/forward")
    ours = build(small, "cpu")
    assert isinstance(contestant("compile", small, ours).module, nn.Module)
    assert [type(module).__name__ for module in seen] == ["PublishedGlobalContext"]


def test_a_compiled_case_compiles_everybody_once(monkeypatch):
    pytest.importorskip("torchvision")
    seen = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: seen.append(module) or module)
    (case,) = select(["network/resnet50-batch8-channels_last-compiled/forward"], "cpu")
    case = Case(**{**vars(case.shrunk()), "compiled": True})
    contestants(case, build(case, "cpu"), ["plain", "compile"])
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("onnx", "gc/tiny/forward"),
        ("onnx", "nl/softmax-p784/forward"),
        pytest.param("aoti", "gc/c3-channels_last/forward", marks=pytest.mark.slow),
        pytest.param("onnx", "network/resnet50-batch8/forward", marks=pytest.mark.slow),
        pytest.param("aoti", "network/resnet50-batch8/forward", marks=pytest.mark.slow),
    ],
)
def test_exported_programs_compute_the_same(name, case):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    small = _small(case)
    ours, given = build(small, "cpu"), inputs(small, "cpu")[0]
    (expected,), (found,) = (call(one, small, given) for one in (ours, contestant(name, small, ours).module))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
