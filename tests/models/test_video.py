import pytest
import torch
from torch import nn

import gcnet
from gcnet.models import i3d, i3d_r50, non_local_places, slow_only, slow_only_r50
from gcnet.models.classifiers import resnet
from gcnet.models.hosts import describe_host


def _temporal(net):
    """Frames of the convolutions over several frames."""
    return {n: m.kernel_size[0] for n, m in net.named_modules() if isinstance(m, nn.Conv3d) and m.kernel_size[0] > 1}


def test_slow_only_is_as_published():
    net = slow_only_r50(device="meta")
    assert sum(p.numel() for p in net.parameters()) == 32_454_096
    assert _temporal(net) == {f"layer{s}.{i}.conv1": 3 for s, count in ((3, 6), (4, 3)) for i in range(count)}
    assert net.conv1.kernel_size == (1, 7, 7)
    assert net.maxpool.kernel_size == (1, 3, 3)
    assert all(m.stride[0] == 1 for m in net.modules() if isinstance(m, nn.Conv3d | nn.MaxPool3d))
    assert net(torch.empty(2, 3, 8, 64, 64, device="meta")).shape == (2, 400)


def test_i3d_is_as_published():
    net = i3d_r50(device="meta")
    published = ["1.0", "1.1", "1.2", "2.0", "2.2", "3.0", "3.2", "3.4", "4.1"]
    assert _temporal(net) == {"conv1": 5, **{f"layer{place}.conv1": 3 for place in published}}
    assert all(m.stride[0] == 1 for m in net.modules() if isinstance(m, nn.Conv3d))
    assert {n: m.kernel_size for n, m in net.named_modules() if isinstance(m, nn.MaxPool3d) and m.stride[0] > 1} == {
        "layer1.time_pool": (2, 1, 1)
    }
    assert net.layer1(torch.empty(1, 64, 8, 4, 4, device="meta")).shape == (1, 256, 4, 4, 4)
    assert net(torch.empty(2, 3, 8, 64, 64, device="meta")).shape == (2, 400)


def test_i3d_of_one_block_per_stage():
    net = i3d(resnet((1, 1, 1, 1), block="basic", device="meta"))
    assert _temporal(net) == {"conv1": 5, "layer1.0.conv1": 3, "layer2.0.conv1": 3, "layer3.0.conv1": 3}


@torch.no_grad()
def test_pooling_along_time_takes_the_larger_of_two_frames():
    flat = resnet((1, 1, 1, 2), block="basic", num_classes=3).eval()
    net = i3d(flat)
    x = torch.rand(1, 64, 4, 5, 5)
    pooled, maps = net.layer1(x), net.layer1[0](x)
    torch.testing.assert_close(pooled, torch.maximum(maps[:, :, ::2], maps[:, :, 1::2]), rtol=0, atol=0)
    assert net.state_dict().keys() == flat.state_dict().keys()


@pytest.mark.parametrize(("count", "blocks"), [(1, ["layer3.4"]), (10, None)])
def test_places_of_non_local_blocks(count, blocks):
    plan = gcnet.plan(
        slow_only_r50(device="meta"), gcnet.NonLocal.spec(), match=non_local_places(count), position="after_block"
    )
    assert len(plan) == count
    assert blocks is None or [site.path for site in plan] == blocks
    with pytest.raises(ValueError, match="blocks=7: published are 1, 5, 10"):
        non_local_places(7)


@pytest.mark.parametrize("make", [slow_only, i3d])
def test_files_name_the_network_with_its_blocks(make, tmp_path):
    net = make(resnet((1, 1, 1, 2), block="basic", num_classes=3)).eval()
    gcnet.insert(net, gcnet.GlobalContext.spec(ratio=1 / 4), stages=["c3", "c4"])
    assert describe_host(net).name == "inflated"
    gcnet.save(net, tmp_path / "net.safetensors")
    loaded = gcnet.load(tmp_path / "net.safetensors").eval()
    clip = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(loaded(clip), net(clip))


def test_errors_of_pooling_along_time():
    flat = resnet((1, 1, 1, 1), block="basic", device="meta")
    with pytest.raises(ValueError, match="'layer' is no sequence of modules; there are layer"):
        gcnet.models.inflate(flat, time_pool={"layer": 2})
    with pytest.raises(ValueError, match="must be a number of frames"):
        gcnet.models.inflate(flat, time_pool={"layer1": 0})
