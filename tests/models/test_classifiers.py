import pytest
import torch

from gcnet.models import resnet50, resnet101, resnext101_32x4d


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
