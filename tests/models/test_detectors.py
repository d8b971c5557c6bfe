import pytest
import torch
from torchvision.models import resnet18

from gcnet.models import mask_rcnn, resnet50, resnet101, resnext101_32x4d


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
