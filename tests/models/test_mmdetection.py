"""Every stage of a converted detector against mmdetection's definitions, written out in the reference beside this."""

import pytest
import torch
from torchvision.models.detection.image_list import ImageList
from torchvision.models.resnet import Bottleneck, ResNet

import gcnet
from gcnet.layouts.mmdetection import MASK_RCNN_1, MASK_RCNN_2
from gcnet.models import mask_rcnn
from gcnet.models.detectors import conventions_of
from gcnet.models.mmdetection import STRIDES, ClampedBoxCoder, PyramidAnchors, PyramidRoIAlign
from tests.layouts import translation
from tests.models import mmdetection_reference as reference

DEPTHS, CLASSES, SIZE = (1, 1, 1, 1), 4, (64, 96)
MEAN = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64)
STD = torch.tensor([58.395, 57.12, 57.375], dtype=torch.float64)
#: Theirs to ours: boxes of 1.x end on their last pixel.
PIXEL = {1: torch.tensor([0.0, 0, 1, 1]).double(), 2: torch.zeros(4).double()}


@pytest.fixture(scope="module", params=[1, 2])
def case(request):
    """Version, state dict of mmdetection, our detector with it, a normalised image."""
    torch.manual_seed(request.param)
    version = request.param
    state = reference.random_state(reference.detector_shapes(version, DEPTHS, classes=CLASSES))
    detector = mask_rcnn(
        ResNet(Bottleneck, list(DEPTHS)),
        CLASSES + 1,
        conventions=f"mmdetection{version}",
        min_size=SIZE[0],
        max_size=SIZE[1],
        rpn_post_nms_top_n_test=30,
        box_detections_per_img=12,
    ).double()
    spec = gcnet.GlobalContext.spec(ratio=1 / 16)
    gcnet.insert(detector.backbone.body, spec, match="layer[234].*", position="after_1x1")
    layout = MASK_RCNN_1 if version == 1 else MASK_RCNN_2
    detector.load_state_dict(translation.to_ours(layout, state))
    image = torch.rand(3, *SIZE, dtype=torch.float64)
    normal = (image * 255 - MEAN[:, None, None]) / STD[:, None, None]
    with torch.no_grad():
        levels = reference.pyramid(state, reference.backbone(state, normal[None]))
        yield version, state, detector.eval(), image, normal, levels


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def rois_of(version):
    """Boxes of all levels in the convention of the version, some narrower than a pixel, some beyond the image."""
    rois = [[0, 0, 95, 63], [3.3, 5.1, 4.2, 5.9], [10.5, 8, 60, 50], [-5, -9, 30, 20], [2, 2, 140, 130]]
    rois += [[0, 0, 300, 260], [0, 0, 600, 500], [40, 30, 40, 30], [70, 50, 95.5, 80]]
    return torch.tensor(rois).double() + (1 - PIXEL[version].max()) * torch.tensor([0, 0, 1.0, 1.0])


@torch.no_grad()
def test_backbone_and_pyramid(case):
    _, _, detector, _, normal, levels = case
    for ours, theirs in zip(detector.backbone(normal[None]).values(), levels, strict=True):
        close(ours, theirs)


@torch.no_grad()
def test_rpn_outputs(case):
    _, state, detector, _, _, levels = case
    for level, logits, deltas in zip(levels, *detector.rpn.head(levels), strict=True):
        theirs = reference.rpn(state, level)
        close(logits, theirs[0])
        close(deltas, theirs[1])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [(64, 96), (800, 1344), (32, 32)])
def test_anchors(version, size):
    shapes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES]
    image = ImageList(torch.empty(2, 3, *size, device="meta"), [size, size])
    ours = PyramidAnchors(version == 1)(image, [torch.empty(2, 1, *shape).double() for shape in shapes])
    theirs = [
        reference.anchors(version, stride, *shape) for stride, shape in zip(STRIDES, shapes, strict=True) if stride > 8
    ]
    assert len(ours) == 2
    theirs = torch.cat(theirs)
    close(ours[1][-len(theirs) :], theirs + PIXEL[version])


@torch.no_grad()
def test_proposals(case):
    version, state, detector, _, normal, levels = case
    theirs = reference.proposals(version, state, levels, SIZE, 30)
    features = dict(zip(["0", "1", "2", "3", "pool"], levels, strict=True))
    (ours,), _ = detector.rpn(ImageList(normal[None], [SIZE]), features)
    close(ours, theirs + PIXEL[version])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("bins", [7, 14])
def test_roi_align(version, bins):
    maps = [torch.randn(1, 3, 256 // stride, 320 // stride).double() for stride in STRIDES[:4]]
    rois = rois_of(version)
    theirs = reference.roi_align(version, maps, rois, bins)
    named = {str(level): map_.expand(2, -1, -1, -1) for level, map_ in enumerate(maps)}
    ours = PyramidRoIAlign(bins, version == 1)(named, [rois + PIXEL[version], rois[:2] + PIXEL[version]], [])
    close(ours, torch.cat([theirs, theirs[:2]]))


@pytest.mark.parametrize("version", [1, 2])
def test_level_at_the_boundary(version):
    widths = torch.tensor([111.0, 112.0, 113.0, 223.9, 224.0, 448.0])
    rois = torch.stack([0 * widths, 0 * widths, widths, widths], 1).double() - PIXEL[version]
    maps = [torch.full((1, 1, 128, 128), float(level)).double() for level in range(4)]
    pool = PyramidRoIAlign(1, version == 1)
    found = pool({str(level): map_ for level, map_ in enumerate(maps)}, [rois + PIXEL[version]], [])
    assert found.flatten().tolist() == [0, 1, 1, 1, 2, 3]


@pytest.mark.parametrize("version", [1, 2])
def test_decoding(version):
    boxes = rois_of(version)
    deltas = torch.randn(len(boxes), 4).double() * 2
    deltas[0], deltas[1] = torch.tensor([0, 0, 90.0, -90.0]), torch.tensor([0, 0, -90.0, 90.0])
    theirs = reference.decode(version, boxes, deltas, (0.1, 0.1, 0.2, 0.2), (10**6, 10**6))
    ours = ClampedBoxCoder((10.0, 10.0, 5.0, 5.0)).decode(deltas, [boxes + PIXEL[version]])[:, 0]
    close(ours.clamp(min=PIXEL[version]), theirs + PIXEL[version])


@torch.no_grad()
def test_heads_on_the_same_boxes(case):
    version, state, detector, _, _, levels = case
    rois, heads = rois_of(version), detector.roi_heads
    features = {str(level): map_ for level, map_ in enumerate(levels)}
    ours = heads.box_head(heads.box_roi_pool(features, [rois + PIXEL[version]], [SIZE]))
    logits, deltas = heads.box_predictor(ours)
    their_logits, their_deltas = reference.box_head(version, state, reference.roi_align(version, levels, rois, 7))
    pooled = heads.mask_roi_pool(features, [rois + PIXEL[version]], [SIZE])
    masks = heads.mask_predictor(heads.mask_head(pooled))
    their_masks = reference.mask_head(version, state, reference.roi_align(version, levels, rois, 14))
    if version == 1:
        close(logits, their_logits)
        close(deltas, their_deltas)
        close(masks, their_masks)
    else:
        close(logits, their_logits[:, [CLASSES, *range(CLASSES)]])
        close(deltas[:, 4:], their_deltas)
        close(masks[:, 1:], their_masks)
        assert not deltas[:, :4].any()
        assert not masks[:, 0].any()


@torch.no_grad()
def test_detections(case):
    version, state, detector, image, _, levels = case
    rois = reference.proposals(version, state, levels, SIZE, 30)
    boxes, scores, labels = reference.detections(version, state, levels, rois, SIZE, 12)
    (found,) = detector([image])
    assert len(boxes) > 5
    close(found["boxes"], boxes + PIXEL[version])
    close(found["scores"], scores)
    assert (found["labels"] - 1).tolist() == labels.tolist()

    features = {str(level): map_ for level, map_ in enumerate(levels)}
    ours, _ = detector.roi_heads(features, [rois + PIXEL[version]], [SIZE])
    masks = reference.mask_head(version, state, reference.roi_align(version, levels, boxes, 14)).sigmoid()
    close(ours[0]["masks"][:, 0], masks[torch.arange(len(masks)), labels + 2 - version])


@pytest.mark.parametrize("conventions", ["torchvision", "mmdetection1", "mmdetection2"])
def test_conventions_are_read_off_a_detector(conventions):
    with torch.device("meta"):
        detector = mask_rcnn(ResNet(Bottleneck, list(DEPTHS)), conventions=conventions)
    assert conventions_of(detector) == conventions


def test_unknown_conventions():
    with torch.device("meta"), pytest.raises(ValueError, match="mmdetection3"):
        mask_rcnn(ResNet(Bottleneck, list(DEPTHS)), conventions="mmdetection3")
