import matplotlib.image
import numpy as np
import pytest
import torch
from torch import nn

import gcnet
from gcnet.training.video.pictures import Attention, attending_blocks, strip, watch


def _net(spec):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 8, 1), nn.MaxPool3d((2, 2, 2)), nn.Conv3d(8, 8, 1))
    gcnet.insert(net, spec, match=["0", "2"])
    return net.eval()


@pytest.mark.parametrize("spec", [gcnet.GlobalContext.spec(ratio=1 / 2), gcnet.SimplifiedNonLocal.spec()])
def test_attention_of_the_last_block(spec):
    net, clip = _net(spec), torch.randn(3, 8, 10, 12)
    found = watch(net, clip)
    assert found.path == "2.context_block"
    assert found.query is None
    assert found.weights.shape == (4, 5, 6)
    features = nn.Sequential(*list(net)[:2])(clip[None])
    features = nn.functional.conv3d(features, net[2].weight, net[2].bias)
    key = net[2].context_block.key
    logits = (features[0] * key.weight.view(8, 1, 1, 1)).sum(0) + key.bias
    torch.testing.assert_close(found.weights, logits.flatten().softmax(0).view(4, 5, 6))


def test_maps_too_small_to_see_are_passed_over():
    net = _net(gcnet.GlobalContext.spec(ratio=1 / 2))
    assert watch(net, torch.randn(3, 4, 8, 8)).path == "2.context_block"
    assert watch(net, torch.randn(3, 4, 6, 6)).path == "0.context_block"
    assert watch(net, torch.randn(3, 4, 2, 2)).path == "2.context_block"


@pytest.mark.parametrize("subsample", [None, "before"])
def test_attention_of_a_non_local_block_is_that_of_the_centre(subsample):
    spec = gcnet.NonLocal.spec(subsample=subsample, subsample_size=(1, 2, 2))
    net, clip = _net(spec), torch.randn(3, 8, 8, 12)
    found = watch(net, clip)
    assert found.query == pytest.approx((2.5 / 4, 2.5 / 4, 3.5 / 6))
    assert found.weights.shape == ((4, 4, 6) if subsample is None else (4, 2, 3))
    assert found.weights.sum() == pytest.approx(1)


def test_blocks_that_do_not_attend(tmp_path):
    assert watch(_net(gcnet.SqueezeExcite.spec(ratio=1 / 2)), torch.randn(3, 4, 8, 8)) is None
    assert not attending_blocks(_net(gcnet.GlobalContext.spec(ratio=1 / 2, pooling="average")))
    strip(tmp_path / "plain.png", torch.zeros(3, 2, 8, 8, dtype=torch.uint8), None, "plain")
    assert (tmp_path / "plain.png").stat().st_size > 1000


def test_a_strip_shows_where_the_block_looks(tmp_path):
    clip = torch.full((3, 4, 32, 32), 128, dtype=torch.uint8)
    weights = torch.zeros(4, 8, 8)
    weights[3, :4, :4] = 1
    strip(tmp_path / "a.png", clip, Attention(weights, (0.6, 0.5, 0.5), "layer3.0.context_block"), "a.mp4: wave")
    picture = (255 * matplotlib.image.imread(tmp_path / "a.png")[..., :3]).astype(int)
    height, width, _ = picture.shape
    lower = picture[height // 2 :]
    saturation = lower.max(2) - lower.min(2)
    assert saturation[:, int(width * 0.76) :].max() > 100  # the attended frame is the last one
    assert np.abs(picture[: height // 2, 20:-20] - picture[: height // 2, 20:-20, :1]).max() < 60
