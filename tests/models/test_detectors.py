import pytest
import torch
from torchvision.models import resnet18

from gcnet.models import mask_rcnn, resnet50, resnet101, resnext101_32x4d
from gcnet.models.detectors import faster_rcnn


def _parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_mask_rcnn_has_the_published_size():
    with torch.device("meta"):
        model = mask_rcnn(resnet50())
    assert _parameters(model) == 44_400_693
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("make", [resnet101, resnext101_32x4d])
def test_mask_rcnn_takes_other_bodies(make):
    model = mask_rcnn(make(device="meta"))
    assert all(p.is_meta for p in model.parameters())
    levels = model.backbone(torch.empty(1, 3, 64, 96, device="meta"))
    assert [tuple(level.shape[1:]) for level in levels.values()] == [
        (256, 16, 24),
        (256, 8, 12),
        (256, 4, 6),
        (256, 2, 3),
        (256, 1, 2),
    ]


def test_mask_rcnn_detects_and_shares_its_body():
    classifier = resnet18()
    model = mask_rcnn(classifier, 3, min_size=64, max_size=64, rpn_post_nms_top_n_test=20, box_detections_per_img=5)
    model.eval()
    assert model.backbone.body.layer4 is classifier.layer4
    with torch.no_grad():
        (found,) = model([torch.rand(3, 64, 64)])
    assert found.keys() == {"boxes", "labels", "scores", "masks"}


def test_mask_rcnn_wants_a_resnet():
    with pytest.raises(TypeError, match=r"takes a torchvision ResNet .* got Linear"):
        mask_rcnn(torch.nn.Linear(3, 3))


def test_faster_rcnn_is_mask_rcnn_without_masks():
    with torch.device("meta"):
        with_masks, without = mask_rcnn(resnet50()), faster_rcnn(resnet50())
    shared = {name for name, _ in with_masks.named_parameters() if ".mask_" not in name}
    assert {name for name, _ in without.named_parameters()} == shared


def test_a_narrow_detector_has_narrow_heads():
    model = mask_rcnn(resnet18(), 3, channels=32, min_size=64, box_detections_per_img=5).eval()
    assert model.roi_heads.box_head.fc6.weight.shape == (128, 32 * 7 * 7)
    assert model.roi_heads.mask_predictor.mask_fcn_logits.weight.shape == (3, 32, 1, 1)
    with torch.no_grad():
        assert model([torch.rand(3, 64, 64)])[0].keys() == {"boxes", "labels", "scores", "masks"}


@pytest.mark.parametrize("conventions", ["torchvision", "mmdetection1", "mmdetection2"])
def test_anchors_follow_their_scale(conventions):
    for scale in (4, 8):
        cells = faster_rcnn(
            resnet18(), 3, conventions=conventions, anchor_scale=scale
        ).rpn.anchor_generator.cell_anchors
        for stride, cell in zip((4, 8, 16, 32, 64), cells, strict=True):
            width, height = (cell[1, 2:] - cell[1, :2]).tolist()
            assert width == pytest.approx(scale * stride, abs=1)
            assert height == pytest.approx(scale * stride, abs=1)
