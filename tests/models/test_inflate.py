import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from gcnet import ContextBlock, GlobalContext
from gcnet.models import inflate


def _features(net, x):
    """The map in front of the global pooling: [N, C, (T,) H, W]."""
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        x = getattr(net, name)(x)
    return x


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = resnet18().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net


@pytest.mark.parametrize(("kernels", "rule"), [({}, "mean"), ({"*": 3}, "centred")])
@torch.no_grad()
def test_constant_video_gives_the_features_of_the_frame_everywhere(net, kernels, rule):
    frame = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    video = frame.unsqueeze(2).expand(-1, -1, 4, -1, -1)
    features = _features(inflate(net, kernels, rule=rule), video)
    torch.testing.assert_close(features, _features(net, frame).unsqueeze(2).expand_as(features), rtol=0, atol=1e-12)


@torch.no_grad()
def test_mean_rule_is_exact_away_from_the_padded_ends(net):
    frame = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    inflated = inflate(net, {"layer[34].*.conv1": 3})
    features = _features(inflated, frame.unsqueeze(2).expand(-1, -1, 11, -1, -1))
    expected = _features(net, frame)
    torch.testing.assert_close(features[:, :, 4:7], expected.unsqueeze(2).expand(-1, -1, 3, -1, -1), rtol=0, atol=1e-12)
    assert not torch.allclose(features[:, :, 0], expected)


def test_names_stay_and_the_2d_network_is_untouched(net):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    inflated = inflate(net, {"conv1": 5})
    assert list(inflated.state_dict()) == list(before)
    assert [n for n, _ in inflated.named_parameters()] == [n for n, _ in net.named_parameters()]
    assert type(net.conv1) is nn.Conv2d
    assert type(inflated) is type(net)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    with torch.no_grad():
        inflated.conv1.weight.zero_()
    assert net.conv1.weight.abs().sum() > 0
    assert inflated.conv1.weight.shape == (64, 3, 5, 7, 7)
    assert inflated.conv1.padding == (2, 3, 3)
    assert not any(module.training for module in inflated.modules())


def test_requires_grad_and_shared_modules_are_kept():
    shared = nn.Conv2d(4, 4, 3, padding=1)
    shared.bias.requires_grad_(False)
    inflated = inflate(nn.Sequential(shared, nn.ReLU(), shared), {"0": 3})
    assert inflated[0] is inflated[2]
    assert inflated[0].weight.requires_grad
    assert not inflated[0].bias.requires_grad


def test_rank_free_blocks_are_kept():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), GlobalContext(8, ratio=1 / 2))
    inflated = inflate(net)
    assert inflated(torch.randn(1, 3, 4, 9, 9)).shape == (1, 8, 4, 7, 7)
    assert inflated[1].state_dict().keys() == net[1].state_dict().keys()


def test_the_meta_device_is_respected():
    with torch.device("meta"):
        net = inflate(resnet50(), {"layer*": 3})
    assert all(p.is_meta for p in net.parameters())


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (nn.Conv2d(3, 4, 1), {"time_kernel": {"layer9": 3}}, ValueError, "'layer9' selects no convolution"),
        (nn.Conv2d(3, 4, 1), {"time_kernel": {"*": 2}}, ValueError, "odd number of frames"),
        (nn.Conv2d(3, 4, 1), {"rule": "centered"}, ValueError, "did you mean 'centred'"),
        (nn.ConvTranspose2d(3, 4, 1), {}, TypeError, "no 3D form of the model .ConvTranspose2d"),
        (nn.Sequential(nn.InstanceNorm2d(4)), {}, TypeError, "no 3D form of 0 .InstanceNorm2d"),
        (nn.Sequential(ContextBlock(16, 1 / 4)), {}, TypeError, "inflate the network first"),
    ],
)
def test_errors(model, options, error, message):
    with pytest.raises(error, match=message):
        inflate(model, **options)
