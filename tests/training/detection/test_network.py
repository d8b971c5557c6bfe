"""Detectors of a configuration."""

import pytest
import torch
from torchvision.models import resnet18

pytest.importorskip("lightning")

import gcnet
from gcnet.models import mask_rcnn
from gcnet.training.detection.network import build_detector
from tests.training.detection.configs import config


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory):
    torch.manual_seed(1)
    net = mask_rcnn(resnet18(), 5, min_size=320)
    gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 4), stages=("c4",))
    return gcnet.save(net, tmp_path_factory.mktemp("weights") / "detector.safetensors")


def blocks(net):
    return [name for name, module in net.named_modules() if name.endswith("context_block")]


def test_masks_or_boxes(tmp_path):
    options = {"score_threshold": 0.2, "image_size": (64, 96), "stages": ("c4", "c5")}
    net = build_detector(config(tmp_path, **options), 3)
    assert type(net).__name__ == "MaskRCNN"
    assert blocks(net) == [f"backbone.body.layer{stage}.{block}.context_block" for stage in (3, 4) for block in (0, 1)]
    assert net.roi_heads.box_predictor.cls_score.out_features == 4
    assert (net.roi_heads.score_thresh, net.roi_heads.detections_per_img) == (0.2, 10)
    assert (net.transform.min_size, net.transform.max_size) == ((64, 96), 96)
    assert net.rpn._post_nms_top_n == {"training": 40, "testing": 20}
    assert net.roi_heads.fg_bg_sampler.batch_size_per_image == 16
    assert type(build_detector(config(tmp_path, masks=False), 3)).__name__ == "FasterRCNN"


@pytest.mark.parametrize("masks", [True, False])
def test_what_is_trained_can_be_saved_and_loaded(tmp_path, masks):
    net = build_detector(config(tmp_path, masks=masks, anchor_scale=4.0, norm="fixed"), 3).eval()
    images = [torch.rand(3, 64, 80)]
    again = gcnet.load(gcnet.save(net, tmp_path / "detector.safetensors"))
    assert blocks(again) == blocks(net)
    with torch.no_grad():
        for ours, theirs in zip(net(images)[0].values(), again.eval()(images)[0].values(), strict=True):
            assert torch.equal(ours, theirs)


def test_anchors_of_another_scale(tmp_path):
    for conventions in ("torchvision", "mmdetection1", "mmdetection2"):
        net = build_detector(config(tmp_path, conventions=conventions, anchor_scale=4.0), 3)
        sides = [(cell[1, 2] - cell[1, 0]).item() for cell in net.rpn.anchor_generator.cell_anchors]
        assert sides == pytest.approx([16, 32, 64, 128, 256], abs=1)


def test_fixed_norms_and_frozen_stages_are_those_of_the_backbone(tmp_path):
    net = build_detector(config(tmp_path, norm="fixed", frozen=("stem", "c2")), 3)
    target = {"boxes": torch.tensor([[5.0, 5, 30, 30]]), "labels": torch.tensor([2])}
    target["masks"] = torch.ones(1, 64, 64, dtype=torch.uint8)
    sum(net.train()([torch.rand(3, 64, 64)], [target]).values()).backward()
    assert torch.equal(net.backbone.body.layer4[0].bn1.running_mean, torch.zeros(512))
    kept = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert {name.split(".")[2] for name in kept} == {"conv1", "bn1", "layer1"}


def test_networks_of_timm(tmp_path):
    options = {"backbone": "timm:convnext_atto", "stages": (), "match": ("stages.*.blocks.*",), "masks": False}
    net = build_detector(config(tmp_path, **options), 3)
    assert len(blocks(net)) == 12
    target = {"boxes": torch.tensor([[5.0, 5, 30, 30]]), "labels": torch.tensor([2])}
    sum(net([torch.rand(3, 64, 64)], [target]).values()).backward()
    untouched = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert untouched == []


def test_networks_without_four_maps_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"backbone='mobilenet_v3_small': .* strides 4, 8, 16 and 32, got MobileNetV3"):
        build_detector(config(tmp_path, backbone="mobilenet_v3_small", block="none", stages=()), 3)


FULL = {"channels": 256, "anchor_scale": 8.0, "stages": ("c4",), "ratio": 1 / 4}


def test_a_whole_detector_goes_on_with_new_classes(tmp_path, detector_file, capsys):
    net = build_detector(config(tmp_path, weights=str(detector_file), **FULL), 2)
    saved = gcnet.load(detector_file)
    assert net.training
    assert torch.equal(net.roi_heads.box_head.fc6.weight, saved.roi_heads.box_head.fc6.weight)
    for mine, theirs in zip(net.backbone.body.parameters(), saved.backbone.body.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert net.roi_heads.box_predictor.cls_score.out_features == 3
    new = (
        "roi_heads.box_predictor.cls_score, roi_heads.box_predictor.bbox_pred, roi_heads.mask_predictor.mask_fcn_logits"
    )
    assert f"stay new: {new}" in capsys.readouterr().out


@pytest.mark.parametrize("masks", [True, False])
def test_a_whole_detector_keeps_its_classes(tmp_path, detector_file, masks):
    net = build_detector(config(tmp_path, weights=str(detector_file), masks=masks, **FULL), 4)
    saved = gcnet.load(detector_file).state_dict()
    assert all(torch.equal(value, saved[key]) for key, value in net.state_dict().items())


def test_blocks_come_on_top_of_a_plain_detector(tmp_path, capsys):
    plain = build_detector(config(tmp_path, block="none", stages=()), 2)
    torch.save(
        {"state_dict": {f"net.{key}": value for key, value in plain.state_dict().items()}}, tmp_path / "run.ckpt"
    )
    net = build_detector(config(tmp_path, weights=str(tmp_path / "run.ckpt")), 2)
    assert "stay new: backbone.body.layer4.0.context_block" in capsys.readouterr().out
    images = [torch.rand(3, 64, 64)]
    torch.testing.assert_close(net.eval()(images), plain.eval()(images))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"block": "none", "stages": ()},
            "do not fit the detector; backbone.body.layer3.0.context_block.* is not part",
        ),
        ({"channels": 16}, "backbone.fpn.* has another shape"),
        ({"conventions": "mmdetection2"}, "conventions='mmdetection2': .* was trained with those of torchvision"),
    ],
)
def test_a_detector_that_does_not_fit(tmp_path, detector_file, options, reason):
    with pytest.raises(ValueError, match=reason):
        build_detector(config(tmp_path, **{**FULL, "weights": str(detector_file), **options}), 4)


def test_weights_of_a_backbone(tmp_path):
    torch.manual_seed(5)
    backbone = resnet18()
    torch.save(backbone.state_dict(), tmp_path / "resnet18.pth")
    net = build_detector(config(tmp_path, weights=str(tmp_path / "resnet18.pth")), 2)
    assert torch.equal(net.backbone.body.layer4[1].conv2.weight, backbone.layer4[1].conv2.weight)
