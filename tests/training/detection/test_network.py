"""Detectors of a configuration."""

import pytest
import torch

pytest.importorskip("lightning")

import gcnet
from gcnet.models import mask_rcnn
from gcnet.models.classifiers import resnet
from gcnet.training.detection.network import build_detector
from tests.training.detection.configs import config


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory):
    torch.manual_seed(1)
    net = mask_rcnn(resnet((1, 1, 1, 1), block="basic"), 5, min_size=320)
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


def test_anchors_of_another_scale(tmp_path):
    for conventions in ("torchvision", "mmdetection1", "mmdetection2"):
        net = build_detector(config(tmp_path, conventions=conventions, anchor_scale=4.0), 3)
        sides = [(cell[1, 2] - cell[1, 0]).item() for cell in net.rpn.anchor_generator.cell_anchors]
        assert sides == pytest.approx([16, 32, 64, 128, 256], abs=1)


def test_networks_of_timm(tmp_path):
    options = {"backbone": "timm:convnext_atto", "stages": (), "match": ("stages.*.blocks.*",), "masks": False}
    net = build_detector(config(tmp_path, **options), 3)
    assert len(blocks(net)) == 12
    target = {"boxes": torch.tensor([[5.0, 5, 30, 30]]), "labels": torch.tensor([2])}
    sum(net([torch.rand(3, 64, 64)], [target]).values()).backward()
    untouched = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert untouched == []


def test_networks_without_four_maps_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"backbone='vgg11': .* strides 4, 8, 16 and 32, got VGG"):
        build_detector(config(tmp_path, backbone="vgg11", block="none", stages=()), 3)


def test_a_whole_detector_goes_on_with_new_classes(tmp_path, detector_file):
    net = build_detector(config(tmp_path, detector=detector_file, block="none", stages=()), 2)
    saved = gcnet.load(detector_file)
    assert net.training
    assert blocks(net) == ["backbone.body.layer3.0.context_block"]
    assert torch.equal(net.roi_heads.box_head.fc6.weight, saved.roi_heads.box_head.fc6.weight)
    assert net.roi_heads.box_predictor.cls_score.out_features == 3
    assert net.roi_heads.mask_predictor.mask_fcn_logits.out_channels == 3
    assert net.transform.min_size == (64,)


def test_a_whole_detector_keeps_its_classes(tmp_path, detector_file):
    net = build_detector(config(tmp_path, detector=detector_file, block="none", stages=()), 4)
    saved = gcnet.load(detector_file)
    assert torch.equal(net.roi_heads.box_predictor.cls_score.weight, saved.roi_heads.box_predictor.cls_score.weight)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"block": "gc", "stages": ("c5",)}, "has 1 blocks already; block='none' keeps them"),
        ({"masks": False}, "is a MaskRCNN, but masks=False trains a FasterRCNN"),
    ],
)
def test_a_detector_that_does_not_fit(tmp_path, detector_file, options, reason):
    with pytest.raises(ValueError, match=reason):
        build_detector(config(tmp_path, **{"block": "none", "stages": (), "detector": detector_file, **options}), 2)


def test_files_that_are_no_detectors(tmp_path):
    with pytest.raises(ValueError, match=r"detector=.*nothing\.pth: no such file"):
        build_detector(config(tmp_path, detector=tmp_path / "nothing.pth"), 2)
    torch.save({"a": torch.zeros(3)}, tmp_path / "odd.pth")
    with pytest.raises(ValueError, match=r"detector=.*odd\.pth: "):
        build_detector(config(tmp_path, detector=tmp_path / "odd.pth"), 2)
