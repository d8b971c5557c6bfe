import pytest
import torch
from torch import nn
from torchvision.models import resnet18

import gcnet
from gcnet.models import non_local_places
from gcnet.models.classifiers import resnet
from gcnet.training.video.networks import BACKBONES, last_layer, video_network
from tests.training.video.settings import settings


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 32, 32)


@pytest.mark.parametrize(
    ("backbone", "frames"),
    [("slow_only_r18", {"layer3.0.conv1": 3, "layer2.0.conv1": 1}), ("i3d_r18", {"conv1": 5, "layer3.1.conv1": 1})],
)
def test_inflated_networks(tmp_path, clip, backbone, frames):
    net = video_network(settings(tmp_path, backbone=backbone), 7).eval()
    for path, count in frames.items():
        assert net.get_submodule(path).kernel_size[0] == count
    assert net(clip).shape == (2, 7)
    assert hasattr(net.layer3[0], "context_block")


def test_networks_of_torchvision(tmp_path, clip):
    net = video_network(settings(tmp_path, backbone="torchvision:r2plus1d_18", match=("layer3.*",), stages=()), 7)
    assert net.eval()(clip).shape == (2, 7)
    assert len(gcnet.status(net).blocks) == 2
    assert "mvit_v2_s" in BACKBONES


@pytest.mark.parametrize("block", ["nl", "snl", "se", "gc"])
def test_blocks_at_the_published_places(tmp_path, block):
    config = settings(
        tmp_path,
        backbone="slow_only_r50",
        block=block,
        ratio=None,
        stages=(),
        match=non_local_places(5),
        position="after_block",
    )
    with torch.device("meta"):
        net = video_network(config, 400)
        assert net(torch.empty(1, 3, 8, 32, 32)).shape == (1, 400)
    plain = 32_454_096
    added = sum(parameter.numel() for parameter in net.parameters()) - plain
    if block == "snl":  # 2 (512² + 512 ...) + 3 (1024² ...): a key and a value per block
        assert added == sum(n * (c * c + c + c + 1) for n, c in ((2, 512), (3, 1024)))
    assert {path for path, module in net.named_modules() if isinstance(module, gcnet.Block)} == {
        f"{place}.context_block" for place in non_local_places(5)
    }


def test_image_weights_are_loaded_before_inflation(tmp_path):
    image_net = resnet((1, 1, 1, 1), block="basic", num_classes=1000)
    torch.save(image_net.state_dict(), tmp_path / "image.pth")
    net = video_network(settings(tmp_path, weights=str(tmp_path / "image.pth")), 3)
    flat = image_net.layer3[0].conv1.weight
    torch.testing.assert_close(net.layer3[0].conv1.weight, flat.unsqueeze(2).repeat(1, 1, 3, 1, 1) / 3)
    assert torch.equal(net.conv1.weight.squeeze(2), image_net.conv1.weight)
    assert net.fc.out_features == 3


@pytest.mark.parametrize("with_blocks", [False, True])
def test_video_weights_are_loaded_as_they_are(tmp_path, clip, with_blocks):
    config = settings(tmp_path)
    trained = video_network(config if with_blocks else settings(tmp_path, block="none", stages=()), 3).eval()
    nn.init.normal_(trained.layer3[0].conv1.weight)
    torch.save(trained.state_dict(), tmp_path / "video.pth")
    net = video_network(settings(tmp_path, weights=str(tmp_path / "video.pth")), 3).eval()
    assert torch.equal(net(clip), trained(clip))


def test_dropout_leaves_names_and_kind_alone(tmp_path, clip):
    net = video_network(settings(tmp_path, dropout=0.9), 3).eval()
    assert last_layer(net) is net.fc
    assert torch.equal(net(clip), net(clip))
    gcnet.save(net, tmp_path / "net.safetensors")
    assert torch.equal(gcnet.load(tmp_path / "net.safetensors").eval()(clip), net(clip))
    features = []
    net.fc.register_forward_hook(lambda layer, inputs, output: features.append(inputs[0]))
    net.train()(clip)
    assert 0.8 < (features[0] == 0).float().mean() < 1


def test_dropout_before_a_last_layer_that_is_a_convolution(tmp_path):
    net = video_network(settings(tmp_path, backbone="s3d", block="none", stages=(), dropout=0.5), 3)
    assert last_layer(net) is net.classifier[1]
    assert net.classifier[1].out_channels == 3


def test_unknown_and_unfit(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'slow_only_r18'"):
        video_network(settings(tmp_path, backbone="slowonly_r18"), 3)
    with pytest.raises(ValueError, match="there are none for slow_only_r10; slow_only_r18 has some"):
        video_network(settings(tmp_path, weights="pretrained"), 3)
    torch.save(resnet18(num_classes=5).state_dict(), tmp_path / "r18.pth")
    with pytest.raises(ValueError, match=r"weights=.*r18.pth"):
        video_network(settings(tmp_path, weights=str(tmp_path / "r18.pth")), 3)
