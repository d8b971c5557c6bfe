"""The network of a configuration."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

pytest.importorskip("timm")

import gcnet
from gcnet.training.config import TrainingConfig
from gcnet.training.network import apply_norm_and_frozen, classifier, insert_blocks


@dataclass(frozen=True, kw_only=True)
class AnyConfig(TrainingConfig):
    task: ClassVar[str] = "any"
    score: ClassVar[str] = "val_any"


CONFIG = AnyConfig(
    data=Path("data"),
    backbone="resnet18",
    block="gc",
    ratio=1 / 4,
    stages=("c4", "c5"),
    epochs=1,
    batch_size=1,
    lr=0.1,
    weight_decay=0.0,
    out=Path("runs"),
)


def test_blocks_go_where_the_configuration_says(capsys):
    net = classifier(CONFIG, 3)
    assert net.fc.out_features == 3
    assert [(block.path, block.position) for block in gcnet.status(net).blocks] == [
        (f"layer{stage}.{index}.context_block", "after_1x1") for stage in (3, 4) for index in (0, 1)
    ]
    assert "inserted 4 blocks" in capsys.readouterr().out


def test_patterns_and_position(capsys):
    config = replace(CONFIG, stages=(), match=("layer3.1",), position="after_add", block="snl", ratio=None)
    (block,) = gcnet.status(classifier(config, 3)).blocks
    assert (block.path, block.position, block.block) == ("layer3.1.context_block", "after_add", "SimplifiedNonLocal")


def test_further_options_of_the_block(capsys):
    config = replace(CONFIG, block="nl", ratio=None, block_options=("subsample=before", "subsample_size=(1, 2)"))
    block = classifier(config, 3).layer4[0].context_block
    assert (block.subsample, block.subsample_size) == ("before", (1, 2))


def test_no_block(capsys):
    net = classifier(replace(CONFIG, block="none"), 3)
    assert not gcnet.status(net).blocks
    assert not capsys.readouterr().out


@pytest.mark.parametrize(("init", "gate"), [("identity", "centred"), ("published", "published")])
def test_start_of_the_blocks(init, gate):
    net = classifier(replace(CONFIG, block="se", init=init), 3)
    assert net.layer4[0].context_block.gate == gate


def test_what_stayed_new_is_printed(tmp_path, capsys):
    source = classifier(replace(CONFIG, block="none"), 7)
    torch.save(source.state_dict(), tmp_path / "host.pth")
    net = classifier(replace(CONFIG, weights=str(tmp_path / "host.pth")), 3)
    assert torch.equal(net.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert f"not in {tmp_path / 'host.pth'}, stays new: fc.weight, fc.bias, 4 blocks\n" in capsys.readouterr().out


def test_the_other_processes_print_nothing(monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "1")
    classifier(CONFIG, 3)
    assert not capsys.readouterr().out


def test_norm_and_frozen():
    net = classifier(replace(CONFIG, norm="sync", frozen=("stem", "c2")), 3)
    assert isinstance(net.bn1, nn.SyncBatchNorm)
    assert not net.layer1[0].conv1.weight.requires_grad
    net.train()
    net.bn1(torch.randn(2, 64, 4, 4))  # frozen: in eval mode, which a CPU can do
    assert not net.bn1.training
    fixed = classifier(replace(CONFIG, norm="fixed"), 3).train()
    fixed(torch.randn(2, 3, 64, 64))
    assert not [
        path for path, module in fixed.named_modules() if isinstance(module, nn.BatchNorm2d) and module.training
    ]


def test_on_networks_of_the_other_tasks():
    from torchvision.models.segmentation import fcn_resnet50

    config = replace(CONFIG, frozen=("stem",), norm="fixed")
    with torch.device("meta"):
        net = fcn_resnet50(weights=None, weights_backbone=None)
        insert_blocks(net, config)
        apply_norm_and_frozen(net, config)
    assert gcnet.status(net).blocks[0].path == "backbone.layer3.0.context_block"
    assert not net.backbone.conv1.weight.requires_grad


def test_single_residual_blocks(capsys):
    config = replace(CONFIG, backbone="gcnet:resnet20_w16", stages=(), blocks=("c4:-2", "c5:0"), position="after_block")
    found = [(block.path, block.position) for block in gcnet.status(classifier(config, 3)).blocks]
    assert found == [("layer3.0.context_block", "after_block"), ("layer4.0.context_block", "after_block")]


def test_several_blocks_of_one_stage():
    config = replace(CONFIG, backbone="resnet50", stages=(), blocks=("c4:0", "c4:-1"))
    found = [block.path for block in gcnet.status(classifier(config, 3)).blocks]
    assert found == ["layer3.0.context_block", "layer3.5.context_block"]


@pytest.mark.parametrize("blocks", ["c4", "c6:0", "stem:0", "c4:x", "c4:--1", "c4:1.5", ":1"])
def test_what_is_no_residual_block_is_named(blocks):
    with pytest.raises(ValueError, match="must be a stage out of c2 to c5 and an index, such as c4:-2"):
        replace(CONFIG, stages=(), blocks=(blocks,))


def test_a_residual_block_that_is_not_there():
    with pytest.raises(ValueError, match="7"):
        classifier(replace(CONFIG, stages=(), blocks=("c4:7",)), 3)


@pytest.mark.parametrize("others", [{"stages": ("c4",)}, {"match": ("layer3.0",)}, {"blocks": ()}])
def test_one_way_of_saying_where(others):
    with pytest.raises(ValueError, match="give one of them"):
        replace(CONFIG, **{"stages": (), "blocks": ("c4:-2",), **others})


def test_a_block_of_another_library(capsys):
    options = {"block": "torchvision.ops:SqueezeExcitation", "ratio": None, "block_options": ("squeeze_channels=4",)}
    net = classifier(replace(CONFIG, **options, position="after_1x1"), 3)
    assert net.layer3[0].context_block.module.fc1.out_channels == 4
    assert "inserted 4 blocks" in capsys.readouterr().out


def test_a_ratio_is_nothing_for_a_block_of_another_library():
    with pytest.raises(ValueError, match=r"ratio=0.25: give a block of another library its own options"):
        classifier(replace(CONFIG, block="timm.layers:EcaModule"), 3)


def test_a_block_of_another_library_by_pattern_in_a_convnext():
    block = {"block": "timm.layers:EcaModule", "ratio": None, "position": "after_block"}
    where = {"stages": (), "match": ("stages.2.blocks.*.conv_dw",)}
    net = classifier(replace(CONFIG, backbone="timm:convnext_atto", **block, **where), 3).eval()
    assert {block.block for block in gcnet.status(net).blocks} == {"ForeignBlock"}
    assert net(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
