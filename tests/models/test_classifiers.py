import pytest
import torch
from torchvision.models.resnet import Bottleneck, ResNet

import gcnet
from gcnet.models import resnet20_w16, resnet50, resnet101, resnext101_32x4d
from gcnet.models.classifiers import resnet
from gcnet.models.hosts import Host, describe_host


@pytest.mark.parametrize(
    ("make", "parameters"), [(resnet50, 25_557_032), (resnet101, 44_549_160), (resnext101_32x4d, 44_177_704)]
)
def test_sizes_are_as_published(make, parameters):
    with torch.device("meta"):
        model = make()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert all(p.is_meta for p in model.parameters())
    assert make(10, device="meta").fc.out_features == 10


@torch.no_grad()
def test_stride_moves_to_the_first_convolution():
    model = resnet50(stride_in_1x1=True).eval()
    assert model.layer2[0].conv1.stride == (2, 2)
    assert model.layer2[0].conv2.stride == (1, 1)
    assert model.state_dict().keys() == resnet50(device="meta").state_dict().keys()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 1000)


def test_a_quarter_of_the_width():
    net = resnet20_w16(10)
    assert sum(p.numel() for p in net.parameters()) == 599_706
    assert net.conv1.out_channels == 16
    assert [getattr(net, f"layer{number}")[-1].bn3.num_features for number in (1, 2, 3, 4)] == [64, 128, 256, 512]
    assert net.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 10)


def test_the_published_width_is_torchvisions_network():
    torch.manual_seed(0)
    ours = resnet((1, 2, 2, 1), width=64, num_classes=7)
    torch.manual_seed(0)
    theirs = ResNet(Bottleneck, [1, 2, 2, 1], num_classes=7)
    assert all(
        torch.equal(one, other)
        for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    )
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_another_width_has_the_names_and_the_start_of_torchvision(block):
    wide = resnet((1, 1, 1, 1), block=block, width=64, device="meta")
    net = resnet((1, 1, 1, 1), block=block, width=32)
    assert net.state_dict().keys() == wide.state_dict().keys()
    assert not any(value.is_meta for value in net.state_dict().values())
    fan_out = net.layer1[0].conv2.weight.shape[0] * 9
    assert net.layer1[0].conv2.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in (net.bn1, net.layer4[0].bn1))


def test_no_width():
    with pytest.raises(ValueError, match="width=0 must be at least 1"):
        resnet((1, 1, 1, 1), width=0)


@torch.no_grad()
def test_a_narrow_network_with_blocks_is_saved_and_loaded(tmp_path):
    net = resnet20_w16(5)
    gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 16), blocks={"c4": [-2]}, position="after_block")
    for parameter in net.parameters():
        parameter += 0.01 * torch.randn_like(parameter)
    gcnet.save(net, tmp_path / "net.safetensors")
    loaded = gcnet.load(tmp_path / "net.safetensors")
    assert loaded.conv1.out_channels == 16
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(loaded.eval()(x), net.eval()(x))


def test_a_narrow_network_is_described():
    host = describe_host(resnet20_w16(5, device="meta"))
    assert host.options["width"] == 16
    assert Host.from_dict(host.to_dict()) == host
    assert "width" not in describe_host(resnet50(device="meta")).options
