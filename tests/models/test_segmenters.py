"""Dilated ResNets compute what the strided ones do, and FCN and DeepLabV3 over them are torchvision's."""

import copy

import pytest
import torch
import torchvision
from torch import nn

import gcnet
from gcnet import models
from gcnet.models.classifiers import dilate, output_stride_of, resnet
from gcnet.models.hosts import Host, describe_host
from gcnet.models.sameness import first_difference

KINDS = {
    "basic": {"block": "basic"},
    "bottleneck": {},
    "caffe": {"stride_in_1x1": True},
    "resnext": {"groups": 2, "width_per_group": 32},
}


def features(net, x):
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = stage(x)
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_a_dilated_network_agrees_where_the_strided_one_has_positions(kind, output_stride):
    torch.manual_seed(0)
    strided = resnet((1, 1, 2, 2), **KINDS[kind]).double().eval()
    dilated = copy.deepcopy(strided)
    dilate(dilated, output_stride)
    x = torch.randn(1, 64, 23, 30, dtype=torch.double)
    step = 32 // output_stride
    with torch.no_grad():
        expected, found = features(strided, x), features(dilated, x)
    torch.testing.assert_close(found[..., ::step, ::step], expected, rtol=1e-12, atol=1e-12)
    assert output_stride_of(dilated) == output_stride


@pytest.mark.parametrize(("name", "head"), [("fcn_resnet50", "fcn"), ("deeplabv3_resnet50", "deeplabv3")])
@pytest.mark.parametrize("auxiliary", [False, True])
def test_at_output_stride_8_it_is_torchvisions(name, head, auxiliary):
    with torch.device("meta"):
        peer = torchvision.models.get_model(name, weights=None, weights_backbone=None, aux_loss=auxiliary)
        ours = models.segmenter(resnet((3, 4, 6, 3), output_stride=8), head=head, auxiliary=auxiliary)
    assert first_difference(ours, peer) is None
    assert repr(ours) == repr(peer)


def test_rates_of_deeplab_follow_the_output_stride():
    for output_stride, rates in ((8, (12, 24, 36)), (16, (6, 12, 18))):
        net = models.segmenter(resnet((1, 1, 1, 1), output_stride=output_stride, device="meta"), head="deeplabv3")
        assert tuple(net.classifier[0].convs[number][0].dilation[0] for number in (1, 2, 3)) == rates


@pytest.mark.parametrize("head", ["fcn", "deeplabv3"])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_saved_with_blocks_and_rebuilt_from_the_file_alone(head, block, tmp_path):
    torch.manual_seed(0)
    classifier = resnet((1, 1, 2, 1), block=block, output_stride=16, num_classes=7)
    gcnet.insert(classifier, gcnet.GlobalContext.spec(ratio=1 / 16), stages=("c4", "c5"))
    net = models.segmenter(classifier, 4, head=head, auxiliary=True).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05)
    # Copied to whole cache lines, where the weights of net lie: some convolutions round by that.
    loaded = copy.deepcopy(gcnet.load(gcnet.save(net, tmp_path / "net.safetensors")))
    x = torch.randn(1, 3, 33, 47)
    for name, logits in net(x).items():
        assert logits.shape == (1, 4, 33, 47)
        assert torch.equal(loaded(x)[name], logits)


def test_its_host_names_every_option():
    host = describe_host(models.segmenter(resnet((1, 1, 1, 1), output_stride=8, device="meta"), 3))
    assert host.name == "segmenter"
    assert host.options["backbone"]["options"]["output_stride"] == 8
    assert {key: host.options[key] for key in ("num_classes", "head", "auxiliary")} == {
        "num_classes": 3,
        "head": "fcn",
        "auxiliary": False,
    }
    assert Host.from_dict(host.to_dict()) == host


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="output_stride=4 must be 32, 16 or 8"):
        resnet((1, 1, 1, 1), output_stride=4, device="meta")
    with pytest.raises(ValueError, match="did you mean 'deeplabv3'"):
        models.segmenter(resnet((1, 1, 1, 1), device="meta"), head="deeplab")
    with pytest.raises(TypeError, match="takes a torchvision ResNet"):
        models.segmenter(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="'segmenter' needs the option 'backbone'"):
        Host("segmenter", {"num_classes": 3})
