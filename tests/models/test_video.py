import torch
from torch import nn

from gcnet.models import slow_only_r50


def test_slow_only_is_as_published():
    net = slow_only_r50(device="meta")
    assert sum(p.numel() for p in net.parameters()) == 32_454_096
    temporal = [n for n, m in net.named_modules() if isinstance(m, nn.Conv3d) and m.kernel_size[0] > 1]
    assert temporal == [f"layer3.{i}.conv1" for i in range(6)] + [f"layer4.{i}.conv1" for i in range(3)]
    assert net.conv1.kernel_size == (1, 7, 7)
    assert net.maxpool.kernel_size == (1, 3, 3)
    assert all(m.stride[0] == 1 for m in net.modules() if isinstance(m, nn.Conv3d | nn.MaxPool3d))
    assert net(torch.empty(2, 3, 8, 64, 64, device="meta")).shape == (2, 400)
