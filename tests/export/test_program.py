import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import gcnet
from gcnet.export import ExportError, export, formats
from gcnet.export.axes import foreign_operators
from gcnet.models import inflate, mask_rcnn, resnet50
from tests.blocks.cases import CASES, CHANNELS, perturb
from tests.insertion.nets import modified, resnet

POOLING_IS_FIXED = torch.__version__ < "2.14"
DYNAMIC_CASES = [case for case in CASES if not (POOLING_IS_FIXED and "subsample" in case.options)]
fixed_pooling = pytest.mark.skipif(POOLING_IS_FIXED, reason="pooling bakes in sizes before torch 2.14 (tried: 2.11)")

pytest.importorskip("torchvision")
WITHOUT = "import sys; sys.modules['gcnet'] = None; import numpy as np, torch; folder = sys.argv[1]\n"
RUN = {
    "onnx": "import onnxruntime; run = onnxruntime.InferenceSession(f'{folder}/p.onnx')\n"
    "y = lambda x: run.run(None, {'input': x})[0]\n",
    "pt2": "run = torch.export.load(f'{folder}/p.pt2').module(); y = lambda x: run(torch.from_numpy(x)).numpy()\n",
    "aoti": "run = torch._inductor.aoti_load_package(f'{folder}/p.pt2')\n"
    "y = lambda x: run(torch.from_numpy(x)).numpy()\n",
}
SAVE = "np.save(f'{folder}/y.npy', y(np.load(f'{folder}/x.npy')))"


def strong(case, dims=2):
    """A block that changes its input by about as much as the input itself."""
    torch.manual_seed(0)
    block = perturb(case.build(dims=dims), 0.5).eval()
    x = torch.randn(2, CHANNELS, 12, 16)
    if dims == 2:
        assert (block(x) - x).abs().max() > 1e-2
    return block


def suffix(to):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    return "onnx" if to == "onnx" else "pt2"


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("case", DYNAMIC_CASES, ids=lambda case: case.name)
def test_every_block_with_dynamic_batch_and_size(case, to, tmp_path):
    path = tmp_path / f"block.{suffix(to)}"
    done = export(strong(case), torch.randn(2, CHANNELS, 12, 16), path, to=to)
    assert done.difference <= 1e-5
    assert done.inputs[0].shape == done.outputs[0].shape == ("batch", CHANNELS, "height", "width")
    assert done.min_size == ((4, 4) if case.options.get("subsample") else (1, 1))
    assert done.checked == ((2, CHANNELS, 12, 16), (3, CHANNELS, 13, 19), (1, CHANNELS, *done.min_size))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_block_compiled_ahead_of_time(case, tmp_path):
    assert export(strong(case), torch.randn(2, CHANNELS, 12, 16), tmp_path / "b.pt2", to="aoti").difference <= 1e-5


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("name", ["gc", *["nl_dot_product"] * (not POOLING_IS_FIXED), "sk", "cbam_code", "bam_code"])
def test_other_ranks(name, dims, tmp_path):
    (case,) = [case for case in CASES if case.name == name]
    x = torch.randn(2, CHANNELS, *(6, 7, 8)[:dims])
    done = export(strong(case, dims), x, tmp_path / "b.pt2", to="pt2")
    assert done.inputs[0].shape[2:] == {1: ("length",), 3: ("frames", "height", "width")}[dims]


@pytest.mark.parametrize("to", ["onnx", "pt2", "aoti"])
def test_a_process_without_gcnet_runs_it(to, tmp_path):
    block, x = strong(CASES[2]), torch.randn(3, CHANNELS, 5, 9)
    export(block, torch.randn(2, CHANNELS, 8, 8), tmp_path / f"p.{suffix(to)}", to=to)
    np.save(tmp_path / "x.npy", x.numpy())
    program = WITHOUT + RUN[to] + SAVE
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment, cwd=tmp_path)
    expected = block(x).detach()
    found = torch.from_numpy(np.load(tmp_path / "y.npy"))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_half_precision(to, tmp_path):
    done = export(strong(CASES[0]), torch.randn(2, CHANNELS, 8, 8), tmp_path / f"b.{suffix(to)}", to=to, float16=True)
    assert 1e-6 < done.difference <= done.tolerance
    assert done.dtype == "float16"


@fixed_pooling
def test_a_small_network_keeps_its_mode_and_weights(tmp_path):
    model = modified().train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    done = export(model, torch.randn(2, 3, 64, 96), tmp_path / "n.pt2", to="pt2")
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert done.min_size == (33, 33)


@fixed_pooling
def test_a_video_network_has_fewer_frames_than_pixels(tmp_path):
    model = modified(inflate(resnet(layers=(1, 1, 1, 1))), stages=("c3",))
    done = export(model, torch.randn(1, 3, 4, 48, 40), tmp_path / "v.pt2", to="pt2")
    assert done.inputs[0].shape == ("batch", 3, "frames", "height", "width")
    assert done.min_size == (4, 33, 33)


def test_a_size_that_cannot_be_free_is_explained(tmp_path):
    with pytest.raises(ValueError, match=r"\(2, 3, 16, 16\) cannot be free, with sizes from 1, 4 on .* larger example"):
        export(modified(), torch.randn(2, 3, 16, 16), tmp_path / "n.pt2", to="pt2")


def test_fixed_axes(tmp_path):
    done = export(strong(CASES[0]), torch.randn(2, CHANNELS, 8, 8), tmp_path / "b.pt2", to="pt2", dynamic=())
    assert done.inputs[0].shape == (2, CHANNELS, 8, 8)
    assert done.checked == ((2, CHANNELS, 8, 8),)
    assert done.min_size == (8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "pt2", "aoti"])
@pytest.mark.parametrize("pyramid", [False, True])
def test_resnet50_and_pyramid(to, pyramid, tmp_path):
    torch.manual_seed(0)
    model = modified(resnet50(), stages=("c3", "c4", "c5"))
    model = mask_rcnn(model).backbone if pyramid else model
    done = export(model, torch.randn(2, 3, 96, 128), tmp_path / f"m.{suffix(to)}", to=to)
    assert done.difference <= 1e-5
    names = ["output_0", "output_1", "output_2", "output_3", "pool"] if pyramid else ["output"]
    assert [port.name for port in done.outputs] == names


def test_no_file_is_left_by_a_program_that_differs(tmp_path, monkeypatch):
    pt2 = formats.FORMATS["pt2"]
    wrong = pt2._replace(load=lambda path: lambda x: [pt2.load(path)(x)[0] + 1e-2])
    monkeypatch.setitem(formats.FORMATS, "pt2", wrong)
    (tmp_path / "b.pt2").write_text("older")
    with pytest.raises(ExportError, match=r"'output' of input .* differs from eager"):
        export(strong(CASES[0]), torch.randn(2, CHANNELS, 8, 8), tmp_path / "b.pt2", to="pt2", overwrite=True)
    assert (tmp_path / "b.pt2").read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 1


class Many(nn.Module):
    def forward(self, x):
        return {"input": x.mean((2, 3)), "masks": [x > 0, x.argmax(1)], "3": x}


@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_names_of_outputs_of_any_dtype(to, tmp_path):
    done = export(torch.compile(Many()), torch.randn(2, 4, 6, 5), tmp_path / f"m.{suffix(to)}", to=to)
    assert {port.name: port.shape for port in done.outputs} == {
        "output_input": ("batch", 4),
        "masks_0": ("batch", 4, "height", "width"),
        "masks_1": ("batch", "height", "width"),
        "output_3": ("batch", 4, "height", "width"),
    }


class Clash(nn.Module):
    def forward(self, x):
        return {"a": {"b": x}, "a_b": x + 1}


def test_outputs_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="same name: a_b, a_b"):
        export(Clash(), torch.randn(2, 4, 6, 5), tmp_path / "m.pt2", to="pt2")


class Foreign(nn.Module):
    def forward(self, x):
        from torchvision.ops import nms

        return x[:, 0, 0, 0][nms(torch.rand(4, 4), torch.rand(4), 0.5)[:1]]


def test_operators_of_other_libraries_are_refused(tmp_path):
    program = torch.export.export(Foreign(), (torch.randn(4, 1, 2, 2),), strict=False)
    assert foreign_operators(program) == ["torchvision::nms"]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"to": "onx"}, ValueError, "onnx"),
        ({"path": "b.pth"}, ValueError, r"ends in \.pt2"),
        ({"path": "none/b.pt2"}, FileNotFoundError, "there is no folder"),
        ({"dynamic": ("sizes",)}, ValueError, "size"),
        ({"example": torch.zeros(2, CHANNELS)}, ValueError, "spatial"),
        ({"example": torch.zeros(0, CHANNELS, 2, 2)}, ValueError, "empty"),
        ({"example": torch.zeros(2, 8, 8, 8)}, ValueError, r"does not take an example of \(2, 8, 8, 8\): .*32"),
        ({"min_size": 9}, ValueError, "larger example"),
        ({"min_size": 0}, ValueError, "positive"),
        ({"min_size": 4, "dynamic": ("batch",)}, ValueError, "goes with a free size"),
    ],
)
def test_errors(change, error, match, tmp_path):
    asked = {"example": torch.randn(2, CHANNELS, 8, 8), "path": "b.pt2", "to": "pt2", **change}
    with pytest.raises(error, match=match):
        export(gcnet.GlobalContext(CHANNELS), asked.pop("example"), tmp_path / asked.pop("path"), **asked)
    assert not list(tmp_path.iterdir())


def test_missing_runtime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"gcnet\[export\]"):
        export(gcnet.GlobalContext(CHANNELS), torch.randn(2, CHANNELS, 8, 8), tmp_path / "b.onnx", to="onnx")


def test_missing_compiler(tmp_path):
    block, x = gcnet.GlobalContext(CHANNELS), torch.randn(2, CHANNELS, 8, 8)
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(RuntimeError, match=r"install g\+\+"),
    ):
        export(block, x, tmp_path / "b.pt2", to="aoti")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "block.pt2"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"exists; give another name or overwrite=True"):
        export(gcnet.GlobalContext(32), torch.randn(2, 32, 8, 8), path, to="pt2")
    assert path.read_text() == "precious"
    export(gcnet.GlobalContext(32), torch.randn(2, 32, 8, 8), path, to="pt2", overwrite=True)
    assert torch.export.load(path).module()(torch.randn(1, 32, 8, 8)).shape == (1, 32, 8, 8)
