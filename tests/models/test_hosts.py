"""Hosts: built networks are recognised, rebuilt alike, and nothing odd in a file is built."""

import copy
import json
import pickle

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import resnet18, resnet50

import gcnet
from gcnet import models
from gcnet.models.classifiers import resnet
from gcnet.models.detectors import faster_rcnn
from gcnet.models.hosts import Host, describe_host
from gcnet.models.sameness import first_difference

SMALL = {"depths": [1, 1, 1, 1]}


def shapes(model):
    return {key: value.shape for key, value in model.state_dict().items()}


def layers(model):
    """Every layer with its options; lists as tuples."""
    return repr(model).translate(str.maketrans("[]", "()"))


def tv(name, **options):
    return torchvision.models.get_model(name, weights=None, **options)


NETWORKS = {
    "resnet": lambda: resnet((1, 2, 1, 1), num_classes=7),
    "basic": lambda: resnet18(num_classes=3),
    "wide": lambda: tv("wide_resnet50_2"),
    "resnext": models.resnext101_32x4d,
    "caffe": lambda: resnet((1, 1, 1, 1), stride_in_1x1=True),
    "headless": lambda: resnet((1, 1, 1, 1), num_classes=0),
    "frozen": lambda: resnet((1, 1, 1, 1), norm="frozen_batch", norm_eps=0.0),
    "slow_only": lambda: models.slow_only_r50(5),
    "mask_rcnn": lambda: models.mask_rcnn(resnet((1, 1, 1, 1)), 5, min_size=(64, 96), image_mean=[0.1, 0.2, 0.3]),
    "narrow_mask_rcnn": lambda: models.mask_rcnn(resnet((1, 1, 1, 1)), 5, channels=32, anchor_scale=6.0),
    "narrow_mm_mask_rcnn": lambda: models.mask_rcnn(
        resnet((1, 1, 1, 1)), 5, channels=32, anchor_scale=6.0, conventions="mmdetection2"
    ),
    "our_faster_rcnn": lambda: faster_rcnn(resnet18(num_classes=3), 5, channels=64, box_nms_thresh=0.3),
    "torchvision_mask_rcnn": lambda: tv("maskrcnn_resnet50_fpn", weights_backbone=None, box_nms_thresh=0.3),
    "efficientnet": lambda: tv("efficientnet_b0", num_classes=9),
    "regnet": lambda: tv("regnet_y_400mf"),
    "retinanet": lambda: tv("retinanet_resnet50_fpn", weights_backbone=None),
    "retinanet_own": lambda: tv("retinanet_resnet50_fpn", weights_backbone=None, num_classes=3, score_thresh=0.2),
    "fcos": lambda: tv("fcos_resnet50_fpn", weights_backbone=None, num_classes=3, min_size=64, max_size=96),
    "faster_rcnn": lambda: tv(
        "fasterrcnn_mobilenet_v3_large_320_fpn", weights_backbone=None, num_classes=3, box_score_thresh=0.2
    ),
    "deeplab": lambda: tv("deeplabv3_resnet50", weights_backbone=None, num_classes=4, aux_loss=True),
    "video": lambda: tv("r3d_18", num_classes=4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_recognised_and_rebuilt(name):
    if name == "regnet":  # its factory computes with tensors
        model = NETWORKS[name]()
    else:
        with torch.device("meta"):
            model = NETWORKS[name]()
    host = describe_host(model)
    assert host is not None
    read = Host.from_dict(json.loads(json.dumps(host.to_dict())))
    assert read == host == pickle.loads(pickle.dumps(host))
    built = read.build("meta")
    assert type(built) is type(model)
    assert shapes(built) == shapes(model)
    assert layers(built) == layers(model)


@pytest.mark.parametrize("name", ["gcresnet50t", "seresnet50", "vit_tiny_patch16_224", "test_resnet"])
def test_timm(name):
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=3, in_chans=4)
    host = describe_host(model)
    assert host == Host(f"timm:{name}", {"num_classes": 3, "in_chans": 4})
    assert repr(host.build("meta")) == repr(model)


def test_thresholds_of_a_detector_come_back():
    options = {"box_nms_thresh": 0.31, "rpn_pre_nms_top_n_test": 77, "bbox_reg_weights": (1.0, 2.0, 3.0, 4.0)}
    host = describe_host(models.mask_rcnn(resnet((1, 1, 1, 1)), 5, conventions="mmdetection1", **options))
    assert host.options.items() >= {**options, "conventions": "mmdetection1"}.items()
    built = host.build()
    assert built.roi_heads.nms_thresh == 0.31
    assert built.rpn._pre_nms_top_n["testing"] == 77
    assert built.roi_heads.box_coder.weights == (1.0, 2.0, 3.0, 4.0)


def test_blocks_are_left_aside():
    model = resnet((1, 2, 1, 1), num_classes=7)
    plain = describe_host(model)
    gcnet.insert(model, gcnet.CBAM.spec(), stages=("c3", "c4"))
    gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1 / 4), match="layer2")
    assert describe_host(model) == plain


def change_stride(model):
    model.layer3[0].conv2.stride = (1, 1)


def change_relu(model):
    model.layer3[0].relu = nn.SiLU()


def change_eps(model):
    model.layer3[0].bn1.eps = 1e-3


def add_layer(model):
    model.extra = nn.Linear(3, 4)


def change_method(model):
    model.layer3[0].forward = lambda x: x


@pytest.mark.parametrize("change", [change_stride, change_relu, change_eps, add_layer, change_method])
def test_a_changed_network_is_another(change):
    model = resnet((1, 1, 1, 1))
    other = copy.deepcopy(model)
    change(other)
    assert describe_host(other) is None
    assert first_difference(other, model)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rpn.box_coder.weights", (1.0, 2.0, 3.0, 4.0)),
        ("roi_heads.box_coder.bbox_xform_clip", 1.0),
        ("backbone.body.return_layers", {"4": "0"}),
        ("rpn.min_size", 8.0),
    ],
)
def test_what_a_detector_keeps_beside_its_layers(path, value):
    model = tv("fasterrcnn_mobilenet_v3_large_320_fpn", weights_backbone=None)
    assert describe_host(model) is not None
    *holders, name = path.split(".")
    holder = model
    for part in holders:
        holder = getattr(holder, part)
    setattr(holder, name, value)
    assert describe_host(model) is None


def test_a_faster_rcnn_by_name_keeps_its_options():
    model = tv("fasterrcnn_mobilenet_v3_large_320_fpn", weights_backbone=None, bbox_reg_weights=(1.0, 2.0, 3.0, 4.0))
    model.rpn._post_nms_top_n = {"training": 9, "testing": 8}
    built = describe_host(model).build("meta")
    assert built.rpn._post_nms_top_n == {"training": 9, "testing": 8}
    assert built.roi_heads.box_coder.weights == (1.0, 2.0, 3.0, 4.0)


def test_an_activation_that_is_a_function():
    layer, other = (nn.TransformerEncoderLayer(8, 2, 8, activation=name) for name in ("relu", "gelu"))
    assert first_difference(layer, other) == "the model has activation='relu', not 'gelu'"


def test_a_network_of_ones_own_is_none():
    assert describe_host(nn.Sequential(nn.Conv2d(3, 4, 1))) is None

    class Own(torchvision.models.ResNet):
        pass

    assert describe_host(Own(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])) is None


def test_synchronised_norms_count_as_plain():
    assert describe_host(nn.SyncBatchNorm.convert_sync_batchnorm(resnet((1, 1, 1, 1)))) is not None


def test_the_same_weights_give_the_same_outputs():
    model = models.inflate(resnet((1, 1, 1, 1), num_classes=3), {"layer[34].*.conv1": 3}).eval()
    built = describe_host(model).build().eval()
    built.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(built(x), model(x))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "os.system", "options": {}}, "unknown host 'os.system'; there are resnet"),
        ({"name": "resnet:50", "options": SMALL}, "unknown host"),
        ({"name": "timm", "options": {}}, "unknown host"),
        ({"name": "resnet", "options": {}}, "needs the option 'depths'"),
        ({"name": "resnet"}, "has the entries name, options"),
        ({"name": "resnet", "options": {"depths": [10**9] * 4}}, "depths=1000000000 is beyond 1,024"),
        ({"name": "resnet", "options": {**SMALL, "width_per_group": 2**30}}, "is beyond"),
        ({"name": "resnet", "options": {**SMALL, "groups": -1}}, "groups=-1 is negative"),
        ({"name": "resnet", "options": {**SMALL, "device": "cuda"}}, "no option 'device'"),
        ({"name": "resnet", "options": {**SMALL, "num_class": 3}}, "did you mean 'num_classes'"),
        ({"name": "mask_rcnn", "options": {"backbone": {"name": "timm:resnet50", "options": {}}}}, "made of resnet"),
        ({"name": "inflated", "options": {"of": {"name": "inflated", "options": {}}}}, "not of 'inflated'"),
        (
            {
                "name": "inflated",
                "options": {"of": {"name": "resnet", "options": SMALL}, "time_kernel": {"conv1": "3"}},
            },
            "must map patterns",
        ),
        ({"name": "timm:resnet50", "options": {"pretrained": True}}, "no option 'pretrained'"),
        ({"name": "timm:resnet50", "options": {"checkpoint_path": "x"}}, "no option 'checkpoint_path'"),
        ({"name": "torchvision:resnet50", "options": {"weights": "DEFAULT"}}, "no option 'weights'"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Host.from_dict(values)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm:hf-hub:some/where", {}, "unknown backbone"),
        ("timm:local-dir:x", {}, "unknown backbone"),
        ("timm:resnet5", {}, "did you mean timm:resnet"),
        ("torchvision:resnet5", {}, "did you mean resnet5"),
        ("torchvision:resnet50", {"dropout": 0.5}, "cannot be built with"),
        ("resnet", {"depths": (1, 1, 1)}, "four numbers"),
        ("resnet", {"depths": (1, 1, 1, 1), "block": "basics"}, "did you mean 'basic'"),
        ("resnet", {"depths": (1, 1, 1, 1), "block": "basic", "stride_in_1x1": True}, "goes with block='bottleneck'"),
    ],
)
def test_what_cannot_be_built(name, options, message):
    with pytest.raises(ValueError, match=message):
        Host(name, options).build("meta")


def test_built_where_asked():
    host = describe_host(resnet50())
    assert {parameter.device.type for parameter in host.build("meta").parameters()} == {"meta"}
    with torch.device("meta"):
        assert {parameter.device.type for parameter in host.build().parameters()} == {"meta"}
