"""Loading: into hosts, foreign files, and every way in which a file can be wrong."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

import gcnet
from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.document import Document
from gcnet.checkpoints.writer import write
from gcnet.models.classifiers import resnet
from tests.blocks.cases import CASES
from tests.checkpoints.nets import image, inserted, swapped, tiny

SPEC = gcnet.GlobalContext.spec(ratio=1 / 8)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def plain_of(model):
    """A host with the weights that ``model`` has outside of its blocks."""
    host = tiny()
    added = gcnet.added_state_dict(model)
    host.load_state_dict({key: value for key, value in model.state_dict().items() if key not in added})
    return host


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def assert_unchanged(model, before, text):
    assert repr(model) == text
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# files of ours, into a host


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_added_weights_over_a_host(case, path):
    model = inserted(case.spec())
    gcnet.save(model, path, added_only=True)
    host = plain_of(model)
    assert gcnet.load(path, host) is host
    assert torch.equal(host(image()), model(image()))
    assert gcnet.status(host) == gcnet.status(model)
    assert path.stat().st_size < sum(p.nbytes for p in model.parameters())


def test_added_weights_of_a_swapped_network(path):
    model = swapped()
    gcnet.save(model, path, added_only=True)
    host = swapped()
    gcnet.load(path, host)
    added = Architecture.of(model).block_shapes()
    assert all(torch.equal(host.state_dict()[key], model.state_dict()[key]) for key in added)


def test_added_weights_alone_are_no_model(path):
    gcnet.save(inserted(SPEC), path, added_only=True)
    with pytest.raises(ValueError, match="give the host they belong to as model="):
        gcnet.load(path)


def test_a_whole_file_into_a_host_in_its_dtype_and_mode(path):
    model = inserted(SPEC)
    gcnet.save(model, path)
    host = tiny().double().train()
    gcnet.load(path, host)
    assert host.training
    assert {p.dtype for p in host.parameters()} == {torch.float64}
    assert torch.equal(host.eval().float()(image()), model(image()))


def test_into_a_model_that_has_its_blocks(path):
    model = inserted(SPEC)
    gcnet.save(model, path)
    other = inserted(SPEC)
    gcnet.enable(other)
    gcnet.load(path, nn.DataParallel(other))
    assert gcnet.status(other) == gcnet.status(model)
    assert torch.equal(other(image()), model(image()))


def test_blocks_come_before_wrappers(path):
    gcnet.save(inserted(SPEC), path)
    host = tiny()
    with pytest.raises(RuntimeError, match="load first, then DDP or compile"):
        gcnet.load(path, nn.DataParallel(host))
    assert gcnet.status(host).blocks == ()


def test_onto_a_device(path):
    gcnet.save(tiny(), path)
    assert {value.device.type for value in gcnet.load(path, device="cpu").state_dict().values()} == {"cpu"}


def test_gradients_flow_into_a_loaded_model(path):
    gcnet.save(inserted(SPEC), path)
    model = gcnet.load(path).train()
    model(image()).sum().backward()
    used = [name for name, p in model.named_parameters() if not name.startswith("layer1.0.context_block")]
    assert all(isinstance(model.get_parameter(name), nn.Parameter) for name in used)
    assert all(model.get_parameter(name).grad is not None for name in used)


# other files


def test_a_plain_checkpoint_builds_its_network(tmp_path):
    model = resnet18(num_classes=3).eval()
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "plain.pth")
    loaded = gcnet.load(tmp_path / "plain.pth")
    assert torch.equal(loaded(image()), model(image()))


def test_a_state_dict_into_a_model_of_ones_own():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    values = {key: value + 1 for key, value in model.state_dict().items()}
    gcnet.load(values, model)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in values.items())


def test_a_foreign_block():
    block = gcnet.ContextBlock(64, 1 / 4)
    nn.init.normal_(block.channel_add_conv[3].weight)
    loaded = gcnet.load(block.state_dict())
    x = torch.randn(2, 64, 5, 5)
    assert isinstance(loaded, gcnet.GlobalContext)
    torch.testing.assert_close(loaded(x), block(x), rtol=0, atol=0)


def test_unused_and_missing_keys_are_errors_unless_allowed():
    model = resnet18(num_classes=3).eval()
    extra = {**model.state_dict(), "extra.weight": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"1 keys of the file are unused, such as 'extra.weight'"):
        gcnet.load(extra)
    assert torch.equal(gcnet.load(extra, allow_unused=["extra.*"])(image()), model(image()))
    less = {key: value for key, value in model.state_dict().items() if key != "layer2.1.bn1.bias"}
    with pytest.raises(ValueError, match=r"lacks 'layer2.1.bn1.bias' and 0 more keys"):
        gcnet.load(less)
    loaded = gcnet.load(less, allow_missing=["*.bn1.bias"])
    assert torch.equal(loaded.layer2[1].bn1.bias, torch.zeros(128))
    assert torch.equal(loaded.fc.weight, model.fc.weight)


def test_options_belong_to_foreign_files(path):
    gcnet.save(gcnet.SqueezeExcite(32), path)
    with pytest.raises(ValueError, match="leave out layout= and options="):
        gcnet.load(path, options={"style": "caffe"})


# files that are wrong


def tampered(path, change, model=None):
    """A file of ``model`` whose tensors and description went through ``change``."""
    model = inserted(SPEC) if model is None else model
    tensors = dict(model.state_dict())
    values = json.loads(Document(Architecture.of(model)).to_metadata()["gcnet"])
    change(tensors, values)
    return write(path, tensors, {"gcnet": json.dumps(values)})


def widen(tensors, values):
    values["architecture"]["placed"][1]["spec"]["options"].update(hidden=2**20, ratio=None)


def widen_host(tensors, values):
    values["architecture"]["host"]["options"]["width_per_group"] = 2**20


def reshape(tensors, values):
    tensors["layer3.0.conv1.weight"] = torch.zeros(256, 128, 1, 1)


def rename(tensors, values):
    tensors["layer3.0.conv1.weights"] = tensors.pop("layer3.0.conv1.weight")


def lose(tensors, values):
    del tensors["layer2.0.context_block.add.expand.weight"]


def add(tensors, values):
    tensors["layer2.0.context_block.add.expand.more"] = torch.zeros(1)


WRONG = {
    widen: r"is \[16, 128\] in the file and \[1048576, 128\] in the model",
    reshape: r"'layer3.0.conv1.weight' is \[256, 128, 1, 1\] in the file and \[256, 128, 3, 3\] in the model",
    rename: "lacks 'layer3.0.conv1.weight' and 0 more keys of the model; nearest: 'layer3.0.conv1.weights'",
    lose: "lacks 'layer2.0.context_block.add.expand.weight'",
    add: "the model has no 'layer2.0.context_block.add.expand.more' nor 0 more",
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
@pytest.mark.parametrize("whole", [True, False], ids=["built", "model"])
def test_wrong_weights_load_nothing(change, whole, path):
    tampered(path, change)
    host = tiny()
    before, text = state(host), repr(host)
    with pytest.raises(ValueError, match=WRONG[change]):
        gcnet.load(path, None if whole else host)
    assert_unchanged(host, before, text)


def test_a_host_beyond_reason_claims_no_memory(path):
    tampered(path, widen_host, resnet((1, 1, 1, 1)))
    with pytest.raises(ValueError, match="in the file and"):
        gcnet.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, v: v.update(format=2, gcnet="9.9"), "written by gcnet 9.9 in format 2.*update gcnet"),
        (lambda t, v: v.update(contents="half"), "'half' is not one of 'model', 'added'"),
        (lambda t, v: v.pop("torch"), "damaged: a description of a model has the entries"),
        (lambda t, v: v.update(tied=[["a", 3]]), "lists of keys"),
        (lambda t, v: v.update(tied=[[]]), "lists of keys"),
        (lambda t, v: v["architecture"].update(host={"name": "x", "options": {}}), "unknown host 'x'"),
        (lambda t, v: v["architecture"]["placed"][0]["spec"].update(block="eval"), "'eval' is not one of"),
    ],
)
def test_damaged_descriptions(change, message, path):
    tampered(path, change)
    with pytest.raises(ValueError, match=message):
        gcnet.load(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "3", '{"format": "x"}'])
def test_descriptions_that_are_none(text, path):
    write(path, tiny().state_dict(), {"gcnet": text})
    with pytest.raises(ValueError, match="damaged"):
        gcnet.load(path)


def test_weights_that_are_not_finite(path):
    model = inserted(SPEC)
    with torch.no_grad():
        model.fc.bias[0] = float("nan")
    gcnet.save(model, path)
    with pytest.raises(ValueError, match=r"fc.bias: 1 of 4 values are NaN"):
        gcnet.load(path)
    assert gcnet.load(path, allow_nan=True).fc.bias[0].isnan()


def test_a_model_without_memory(path):
    gcnet.save(tiny(), path)
    with pytest.raises(ValueError, match="meta device"):
        gcnet.load(path, resnet((1, 1, 1, 1), block="basic", num_classes=4, device="meta"))


def test_another_host(path):
    gcnet.save(inserted(SPEC), path, added_only=True)
    host = resnet((1, 1, 1, 1))
    before, text = copy.deepcopy(state(host)), repr(host)
    with pytest.raises(ValueError, match="does not fit this model"):
        gcnet.load(path, host)
    assert_unchanged(host, before, text)


@pytest.mark.parametrize("added_only", [False, True])
def test_a_host_that_computes_something_else_is_warned_of(added_only, path, caplog):
    gcnet.save(inserted(SPEC), path, added_only=added_only)
    gcnet.load(path, tiny())
    assert not caplog.records
    host = tiny()
    host.layer2[0].relu = nn.GELU()
    gcnet.load(path, host)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "'layer2.0.relu' is a GELU, not a ReLU" in record.getMessage()


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
@pytest.mark.parametrize("host", [tiny, lambda: None])
def test_weights_of_another_kind_of_number(dtype, host, path):
    def change(tensors, values):
        tensors["fc.bias"] = tensors["fc.bias"].to(dtype)

    with pytest.raises(ValueError, match=rf"'fc.bias' is {dtype} in the file and torch.float32 in the model"):
        gcnet.load(tampered(path, change), host())


def test_different_values_do_not_fit_one_parameter():
    class Pair(nn.Module):
        def __init__(self, tied):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            if tied:
                self.second.weight = self.first.weight

    model = Pair(tied=True)
    before, text = state(model), repr(model)
    with pytest.raises(ValueError, match=r"'first.weight' and 'second.weight' are one parameter in the model"):
        gcnet.load(Pair(tied=False).state_dict(), model)
    assert_unchanged(model, before, text)
    gcnet.load(Pair(tied=True).state_dict(), model)
