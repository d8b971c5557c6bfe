"""Files of mm frameworks and training scripts: metadata becomes plain values, and no class of theirs is imported."""

import argparse
import collections
import datetime
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.reader import read

WEIGHTS = {"backbone.conv1.weight": torch.ones(2, 3)}


def test_an_mmengine_checkpoint(tmp_path):
    mmengine = pytest.importorskip("mmengine")
    hub = mmengine.MessageHub.get_instance("test_stand_ins")
    hub.update_scalar("train/loss", 0.5)
    hub.update_info("epoch", 3)
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    config = mmengine.Config({"model": {"type": "MaskRCNN", "depth": 50}})
    path = tmp_path / "epoch_3.pth"
    meta = {"epoch": 3, "dataset_meta": {"classes": ("cat",)}, "cfg": config.pretty_text, "live": config}
    meta["dictionary"] = config.model
    content = {
        "meta": meta,
        "state_dict": WEIGHTS,
        "message_hub": hub.state_dict(),
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"base_values": [0.1], "last_step": np.int64(4)}],
    }
    torch.save(content, path)
    code = (
        "import sys; from gcnet.checkpoints.reader import read; found = read(sys.argv[1]);"
        "assert not any(name.split('.')[0] in ('mmengine', 'addict') for name in sys.modules);"
        "print(found.metadata['meta']['epoch'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == "3\n", done.stderr
    contents = read(path)
    assert contents.tensors.keys() == WEIGHTS.keys()
    model_options = {"type": "MaskRCNN", "depth": 50}
    assert contents.metadata["meta"]["dictionary"] == model_options
    assert contents.metadata["meta"]["live"] == {"model": model_options}
    assert contents.metadata["meta"]["cfg"] == config.pretty_text
    assert contents.metadata["param_schedulers"][0]["last_step"] == 4
    assert "optimizer state dropped: optimizer" in contents.notes


def test_an_mmcv_runner_file(tmp_path):
    meta = {
        "mmdet_version": "1.0rc1+00c95f4",
        "config": "model = dict(type='MaskRCNN')",
        "CLASSES": ("person", "bicycle"),
        "epoch": 12,
        "iter": 87960,
        "mmcv_version": "0.2.16",
        "time": "Mon Jan 6 12:00:00 2020",
    }
    content = {"meta": meta, "state_dict": collections.OrderedDict(WEIGHTS), "optimizer": {"param_groups": []}}
    for new in (True, False):
        torch.save(content, tmp_path / "latest.pth", _use_new_zipfile_serialization=new)
        contents = read(tmp_path / "latest.pth")
        assert contents.metadata == {"meta": {**meta, "CLASSES": ["person", "bicycle"]}}
        assert contents.tensors.keys() == WEIGHTS.keys()


def test_what_training_scripts_leave_behind(tmp_path):
    content = {
        "state_dict": WEIGHTS,
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/runs/a")),
        "best": np.float64(0.75),
        "single": np.float32(0.5),
        "scores": np.arange(3.0),
        "when": datetime.date(2020, 1, 2),
        "seen": {1},
        "counts": collections.defaultdict(list, a=[1]),
        "random": np.random.default_rng(0).bit_generator.state,
    }
    torch.save(content, tmp_path / "model.pth")
    metadata = read(tmp_path / "model.pth").metadata
    assert metadata["args"] == {"lr": 0.1, "out": "/runs/a"}
    assert (metadata["best"], metadata["single"]) == (0.75, 0.5)
    assert metadata["seen"] == [1]
    assert metadata["counts"] == {"a": [1]}
    assert isinstance(metadata["scores"], str)
    assert metadata["when"] == "<datetime.date>"


def test_a_pickled_model_is_refused_with_all_its_classes(tmp_path):
    torch.save({"state_dict": WEIGHTS, "net": torch.nn.Sequential(torch.nn.ReLU())}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"torch.nn.modules.activation.ReLU, .*Sequential.*whole pickled model"):
        read(tmp_path / "model.pth")


class Unknown:
    pass


def test_an_unknown_class_is_named(tmp_path):
    torch.save({"state_dict": WEIGHTS, "extra": Unknown()}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"names tests\.checkpoints\.test_stand_ins\.Unknown: unpickling"):
        read(tmp_path / "model.pth")
