import pytest
import torch
from torchvision.models import resnet18
from torchvision.models.detection import maskrcnn_resnet50_fpn

import gcnet
from gcnet.analysis.audit.paper import PAPER, SETUPS, matching_setup
from gcnet.models import faster_rcnn, i3d_r50, mask_rcnn, non_local_places, resnet50, slow_only_r50
from gcnet.ops.affinity import PAIRWISE


def paths(model):
    return [path for path, module in model.named_modules() if isinstance(module, gcnet.NonLocal)]


def with_blocks(model, *places):
    gcnet.insert(model, gcnet.NonLocal.spec(), match=places, position="after_block")
    return model


def test_figures_are_possible():
    assert PAPER.keys() == SETUPS.keys()
    for figures in PAPER.values():
        assert tuple(figures) == PAIRWISE
        for function, found in figures.items():
            assert 0.3 < found.input < 0.5
            assert max(found.output, found.attention) < found.input
            assert (found.divergence is not None) == ("gaussian" in function)


def test_kinetics():
    model = with_blocks(slow_only_r50(device="meta"), *non_local_places(5))
    assert matching_setup(model, paths(model)) == "kinetics"


@pytest.mark.parametrize("places", [("layer3.4",), ("layer3.5",), non_local_places(5)])
def test_other_networks(places):
    for make in (resnet50, i3d_r50):
        model = with_blocks(make(device="meta"), *places)
        assert matching_setup(model, paths(model)) is None


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: mask_rcnn(resnet50()), id="ours"),
        pytest.param(lambda: maskrcnn_resnet50_fpn(weights_backbone=None), id="torchvision"),
    ],
)
def test_coco(build):
    with torch.device("meta"):
        found = with_blocks(build(), "backbone.body.layer3.4")
    assert matching_setup(found, paths(found)) == "coco"
    with torch.device("meta"):
        more = with_blocks(found, "backbone.body.layer3.5")
    assert matching_setup(more, paths(more)) is None


def test_other_detectors():
    boxes = with_blocks(faster_rcnn(resnet50(device="meta")), "backbone.body.layer3.4")
    assert matching_setup(boxes, paths(boxes)) is None


def test_networks_without_such_blocks():
    assert matching_setup(resnet18(), []) is None
    assert matching_setup(gcnet.NonLocal(8), [""]) is None
    shallow = with_blocks(resnet18(), "layer3.1")
    assert matching_setup(shallow, ["layer3.4.context_block"]) is None
