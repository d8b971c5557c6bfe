"""Architectures: described, written, read with suspicion, and put into a host or not at all."""

import copy
import json

import pytest
import torch
from torch import nn

import gcnet
from gcnet.checkpoints.architecture import Architecture
from tests.blocks.cases import CASES
from tests.checkpoints.nets import BLOCKS, image, inserted, swapped, tiny, video

MODELS = {
    "inserted": lambda: inserted(gcnet.GlobalContext.spec(ratio=1 / 8)),
    "swapped": swapped,
    "video": video,
    "plain": tiny,
    "alone": BLOCKS["bam"],
}


@pytest.mark.parametrize("name", MODELS)
def test_described_written_and_built(name):
    model = MODELS[name]()
    architecture = Architecture.of(model)
    read = Architecture.from_dict(json.loads(json.dumps(architecture.to_dict())))
    assert read == architecture
    built = read.build("meta")
    assert repr(built) == repr(model)
    assert gcnet.status(built) == gcnet.status(model)
    assert {key: value.shape for key, value in built.state_dict().items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_inserted_into_a_host(case):
    model = inserted(case.spec())
    host = tiny()
    architecture = Architecture.of(model)
    architecture.insert_into(host)
    host.load_state_dict(model.state_dict())
    assert torch.equal(host(image()), model(image()))
    before = copy.deepcopy(host)
    architecture.insert_into(host)  # all there already
    assert repr(host) == repr(before)


def test_a_shared_module_is_replaced_everywhere():
    model = swapped()
    model.features.extra = model.features[1].block[1]
    host = torch.nn.Module()
    host.features = copy.deepcopy(model.features)
    block = host.features[1].block[1]
    shared = nn.Identity()
    host.features[1].block[1] = host.features.extra = shared
    architecture = Architecture(None, (), Architecture.of(model).replaced[:1])
    architecture.insert_into(host)
    assert host.features.extra is host.features[1].block[1]
    assert repr(host.features.extra) == repr(block)


def failing(**changes):
    values = Architecture.of(inserted(gcnet.GlobalContext.spec(ratio=1 / 8))).to_dict()
    values["placed"][-1].update(changes)
    return Architecture.from_dict(values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "layer7.0"}, "no module 'layer7.0'"),
        ({"channels": 64, "position": "after_1x1", "path": "layer4.0"}, "512 channels"),
        ({"position": "after_3x3", "channels": 128, "path": "bn1"}, "choose the module around it"),
    ],
)
def test_a_failure_leaves_the_host_as_it_was(changes, message):
    host = tiny()
    before = repr(host)
    with pytest.raises(ValueError, match=message):
        failing(**changes).insert_into(host)
    assert repr(host) == before
    assert gcnet.status(host).blocks == ()


def test_another_block_in_the_place():
    host = tiny()
    gcnet.insert(host, gcnet.SqueezeExcite.spec(), stages="c3", position="after_1x1")
    before = repr(host)
    with pytest.raises(ValueError, match=r"'layer2.0' has a SqueezeExcite after_1x1 as 'context_block' already"):
        failing().insert_into(host)
    assert repr(host) == before


def test_another_block_in_place_of_a_module():
    architecture = Architecture.of(gcnet.SqueezeExcite(32))
    with pytest.raises(ValueError, match="'the model' is a SqueezeExcite, not the"):
        architecture.insert_into(gcnet.SqueezeExcite(64))


def test_no_host():
    with pytest.raises(ValueError, match="give the host itself as model="):
        Architecture(None, Architecture.of(inserted(gcnet.CBAM.spec())).placed).build()


def test_only_blocks_that_remember_how_they_were_built():
    model = nn.Sequential(gcnet.SqueezeExcite(32))
    del model[0].__dict__["_arguments"]
    with pytest.raises(ValueError, match="'0' does not remember"):
        Architecture.of(model)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((), 3, "has the entries host, placed, replaced"),
        (("host",), 3, "host=3"),
        (("host", "name"), "os.system", "unknown host"),
        (("placed",), {}, "placed="),
        (("placed", 0), [], "a placed block has the entries"),
        (("placed", 0, "path"), 3, "path=3 of a placed block is no str"),
        (("placed", 0, "name"), "__class__", "must be 'context_block'"),
        (("placed", 0, "position"), "after", "'after' is not one of"),
        (("placed", 0, "channels"), 0, "channels=0 must be at least 1"),
        (("placed", 0, "channels"), 2**40, "is beyond"),
        (("placed", 0, "channels"), True, "channels=True of a placed block is no int"),
        (("placed", 0, "dims"), 4, "dims=4 is not one of 1, 2, 3"),
        (("placed", 0, "enabled"), "no", "enabled='no' of a placed block is no bool"),
        (("placed", 0, "spec", "block"), "Module", "block='Module' is not one of"),
        (("placed", 0, "spec", "options", "hidden"), 2**40, "is beyond"),
        (("placed", 0, "more"), 1, "has the entries"),
    ],
)
def test_refused(path, value, message):
    values = json.loads(json.dumps(Architecture.of(inserted(gcnet.GlobalContext.spec(hidden=4))).to_dict()))
    if not path:
        values = value
    else:
        entry = values
        for step in path[:-1]:
            entry = entry[step]
        entry[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        Architecture.from_dict(values)
