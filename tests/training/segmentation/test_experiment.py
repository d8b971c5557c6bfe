"""Segmentation from folders to results: trained, resumed, scored and used, in seconds."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import resnet18

pytest.importorskip("lightning")

import gcnet
from gcnet.recipes import cityscapes
from gcnet.recipes.scenes_segmentation import scenes_segmentation
from gcnet.training.evaluate import evaluate, predict
from gcnet.training.experiment import open_experiment
from gcnet.training.run import train
from gcnet.training.run_folder import load_config
from gcnet.training.scenes.compose import CLASS_NAMES, SceneSettings
from gcnet.training.scenes.make import make_scenes
from gcnet.training.segmentation.config import SegmentationConfig
from gcnet.training.segmentation.network import build_network
from gcnet.training.segmentation.scene_net import BLOCK_SITES, SceneNet

QUIET = {"workers": 0, "threads": 1, "loggers": (), "epochs": 1}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return make_scenes("segmentation", tmp_path_factory.mktemp("data") / "scenes", SceneSettings(train=8, val=3))


def small(data, out, **fields):
    return dataclasses.replace(scenes_segmentation(data), out=out, **{"batch_size": 4, **QUIET, **fields})


def fcn(data, out, **fields):
    return SegmentationConfig(
        data=data,
        out=out,
        **{
            **QUIET,
            "backbone": "resnet18",
            "head": "fcn",
            "auxiliary": 0.4,
            "block": "gc",
            "stages": ("c5",),
            "crop_size": (32, 40),
            "scale": (0.75, 1.25),
            "batch_size": 2,
            "lr": 0.001,
            "weight_decay": 0.01,
            **fields,
        },
    )


def test_a_run_and_what_it_leaves(scenes, tmp_path):
    run = train(small(scenes, tmp_path, epochs=2))
    results = json.loads((run / "results.json").read_text())
    assert results["score"] == "val_miou"
    assert list(results["class_iou"]) == list(CLASS_NAMES)
    masks = np.stack([np.asarray(Image.open(path)) for path in (scenes / "val" / "masks").iterdir()])
    assert list(results["class_share"].values()) == pytest.approx([(masks == label).mean() for label in range(3)])
    assert results["final"] == pytest.approx(sum(results["class_iou"].values()) / 3)
    assert set(results["history"][0]) == {"epoch", "train_loss", "val_loss", "val_miou", "val_pixel_accuracy"}
    for name in ("examples.png", "class_iou.png", "curves.png"):
        assert (run / name).stat().st_size > 5_000

    scores = evaluate(run, load_config(run), "last")
    assert scores["val_miou"] == pytest.approx(results["final"])
    windowed = evaluate(run, dataclasses.replace(load_config(run), window=(32, 48)), "last")
    assert windowed["val_miou"] != scores["val_miou"]


def test_prediction(scenes, tmp_path):
    run = train(small(scenes, tmp_path))
    odd = tmp_path / "odd.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (37, 51, 3), np.uint8)).save(odd)
    written = json.loads(predict(run, load_config(run), [scenes / "val" / "images", odd], tmp_path / "out").read_text())
    assert written["classes"] == list(CLASS_NAMES)
    assert len(written["images"]) == 4
    entry = written["images"][-1]
    assert entry["file"] == str(odd)
    labels = np.asarray(Image.open(tmp_path / "out" / entry["labels"]))
    assert labels.shape == (37, 51)
    assert entry["shares"] == pytest.approx(
        {name: (labels == index).mean() for index, name in enumerate(CLASS_NAMES) if (labels == index).any()}
    )
    assert Image.open(tmp_path / "out" / entry["overlay"]).width > 400
    (tmp_path / "no.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no\.jpg: cannot be decoded"):
        predict(run, load_config(run), [tmp_path / "no.jpg"], tmp_path / "out")
    skipping = dataclasses.replace(load_config(run), on_broken="skip")
    written = json.loads(predict(run, skipping, [tmp_path / "no.jpg", odd], tmp_path / "out").read_text())
    assert [entry["file"] for entry in written["images"]] == [str(odd)]


def test_a_run_in_two_parts_is_the_same_to_the_bit(scenes, tmp_path):
    config = small(scenes, tmp_path, epochs=2, scale=(0.5, 2.0), colour_jitter=True, schedule="constant")
    whole = train(config, tmp_path / "whole")
    train(dataclasses.replace(config, epochs=1), tmp_path / "parts")
    train(config, tmp_path / "parts")
    one, other = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, tmp_path / "parts")
    )
    assert [key for key, value in one["state_dict"].items() if not torch.equal(value, other["state_dict"][key])] == []
    assert one["history"] == other["history"]


def test_odd_sizes_ignored_regions_and_names_in_a_file(tmp_path):
    generator = np.random.default_rng(0)
    for split, sizes in (("training", [(40, 51), (33, 47), (90, 64)]), ("validation", [(37, 53), (41, 29)])):
        for number, size in enumerate(sizes):
            for kind, array in (
                ("images", generator.integers(0, 255, (*size, 3), np.uint8)),
                ("annotations", generator.integers(0, 3, size, np.uint8)),
            ):
                path = tmp_path / "data" / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (tmp_path / "data" / "classes.txt").write_text("wall\nsky\n")
    config = fcn(tmp_path / "data", tmp_path, labels="zero_ignored", resize=32, batch_size=3)
    experiment = open_experiment(config)
    assert experiment.classes == ("wall", "sky")
    assert experiment.summary == "3 training and 2 validation images (ADE20K layout) of 2 classes"
    results = json.loads((train(config) / "results.json").read_text())
    assert set(results["class_iou"]) == {"wall", "sky"}
    assert {"train_head_loss", "train_auxiliary_loss"} < set(results["history"][0])


@pytest.mark.parametrize("head", ["fcn", "deeplabv3"])
def test_the_trained_network_is_saved_with_its_host(head, tmp_path):
    torch.manual_seed(0)
    config = fcn(Path("data"), tmp_path, head=head, output_stride=16)
    net = build_network(config, 5).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    loaded = gcnet.load(gcnet.save(net, tmp_path / "net.safetensors"))
    x = torch.rand(1, 3, 45, 61)
    # Copied to whole cache lines, where the weights of net lie: some convolutions round by that.
    assert torch.equal(copy.deepcopy(loaded)(x)["out"], net(x)["out"])
    assert len(gcnet.status(loaded)) == 2


def test_weights_of_a_backbone_or_of_a_whole_network(tmp_path, capsys):
    torch.manual_seed(0)
    config = fcn(Path("data"), tmp_path, block="none", stages=())
    net = build_network(config, 5)
    gcnet.save(net, tmp_path / "whole.safetensors")
    torch.save({"state_dict": {f"net.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "run.ckpt")
    gcnet.save(resnet18(num_classes=9), tmp_path / "body.safetensors")
    for name, classes, same in (("whole.safetensors", 5, True), ("run.ckpt", 5, True), ("run.ckpt", 3, True)):
        again = build_network(dataclasses.replace(config, weights=str(tmp_path / name)), classes)
        assert torch.equal(again.classifier[0].weight, net.classifier[0].weight) == same
        assert torch.equal(again.backbone.conv1.weight, net.backbone.conv1.weight)
        assert again.classifier[-1].out_channels == classes
    assert "stays new: classifier.4.weight" in capsys.readouterr().out
    body = build_network(dataclasses.replace(config, weights=str(tmp_path / "body.safetensors")), 5)
    assert not torch.equal(body.backbone.conv1.weight, net.backbone.conv1.weight)
    scene = small(Path("data"), tmp_path)
    trained = build_network(scene, 3)
    torch.save(
        {"state_dict": {f"net.{key}": value for key, value in trained.state_dict().items()}}, tmp_path / "s.ckpt"
    )
    again = build_network(dataclasses.replace(scene, weights=str(tmp_path / "s.ckpt")), 3)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in trained.state_dict().items())


def test_synchronised_norms_reach_the_heads(tmp_path):
    net = build_network(fcn(Path("data"), tmp_path, norm="sync"), 3)
    assert not any(type(module) is nn.BatchNorm2d for module in net.modules())
    assert isinstance(net.classifier[1], nn.SyncBatchNorm)
    fixed = build_network(fcn(Path("data"), tmp_path, norm="fixed", frozen=("stem", "c2")), 3)
    assert not fixed.backbone.layer1[0].conv1.weight.requires_grad
    assert fixed.classifier[0].weight.requires_grad


def test_the_small_network_is_saved_too(tmp_path):
    net = SceneNet(3).eval()
    gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 4), match=BLOCK_SITES)
    path = gcnet.save(net, tmp_path / "net.safetensors")
    x = torch.rand(1, 3, 30, 30)
    assert torch.equal(gcnet.load(path, model=SceneNet(3)).eval()(x), net(x))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": "unet"}, "head='unet'"),
        ({"head": "none"}, "does not go with backbone='resnet18'"),
        ({"backbone": "scene_net"}, "scene_net has its own head"),
        ({"backbone": "scene_net", "head": "none"}, "has no auxiliary head"),
        ({"backbone": "scene_net", "head": "none", "auxiliary": 0.0, "weights": "pretrained"}, "there are none"),
        ({"output_stride": 4}, "output_stride=4 must be 8, 16 or 32"),
        ({"labels": "zero_ignore"}, "did you mean 'zero_ignored'"),
        ({"classes": ("a", "a")}, "classes=a,a"),
        ({"window_stride": (4, 4)}, "goes with window"),
        (
            {"window": (8, 8), "window_stride": (8, 9)},
            r"window_stride=\(8, 9\) leaves gaps between windows of \(8, 8\)",
        ),
        ({"window": (0, 4)}, "window="),
        ({"scale": (2.0, 0.5)}, "scale="),
        ({"mirror": 2.0}, "mirror=2.0"),
        ({"max_class_share": 0.0}, "max_class_share=0.0"),
        ({"std": (0.0, 1.0, 1.0)}, "std="),
        ({"head": "deeplabv3", "batch_size": 1}, "batch_size=1 does not go with head='deeplabv3'"),
    ],
)
def test_configurations_that_make_no_sense(fields, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fcn(Path("data"), tmp_path, **fields)


def test_data_that_makes_no_sense(scenes, tmp_path):
    with pytest.raises(ValueError, match="ignore_index=2 is the class 'brighter digit'"):
        open_experiment(small(scenes, tmp_path, ignore_index=2))
    bare = tmp_path / "bare"
    for split in ("train", "val"):
        (bare / split).mkdir(parents=True)
        for kind in ("images", "masks"):
            (bare / split / kind).symlink_to(scenes / split / kind)
    with pytest.raises(FileNotFoundError, match=r"holds no classes\.txt"):
        open_experiment(small(bare, tmp_path))
    assert open_experiment(small(bare, tmp_path, classes=("a", "b", "c"))).classes == ("a", "b", "c")


def test_a_backbone_that_no_head_stands_on(tmp_path):
    with pytest.raises(ValueError, match="stands on ResNets of torchvision"):
        build_network(
            fcn(Path("data"), tmp_path, backbone="mobilenet_v3_small", stages=(), match=("features.1",), ratio=1 / 4), 3
        )


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [
        (cityscapes.cityscapes_fcn_r50_gc_40k, 40_000),
        (cityscapes.cityscapes_fcn_r50_gc_80k, 80_000),
        (cityscapes.cityscapes_fcn_r101_gc_40k, 40_000),
        (cityscapes.cityscapes_fcn_r101_gc_80k, 80_000),
    ],
)
def test_published_steps(recipe, steps):
    config = recipe(Path("cityscapes"))
    assert config.batch_size * config.devices == 8
    assert config.epochs * (2975 // 8) == pytest.approx(steps, rel=0.003)


@pytest.mark.slow
def test_context_decides(tmp_path):
    data = make_scenes("segmentation", tmp_path / "scenes", SceneSettings(train=1000, val=100))
    scores = [
        json.loads((train(small(data, tmp_path, batch_size=32, epochs=6, block=block)) / "results.json").read_text())
        for block in ("none", "gc")
    ]
    assert scores[1]["final"] > max(0.8, scores[0]["final"] + 0.08)
