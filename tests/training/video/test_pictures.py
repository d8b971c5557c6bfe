import matplotlib.image
import numpy as np
import pytest
import torch
from torch import nn

import gcnet
from gcnet.training.video.pictures import strip, watch


def _net(spec):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 8, 1), nn.MaxPool3d((2, 2, 2)), nn.Conv3d(8, 8, 1))
    gcnet.insert(net, spec, match=["0", "2"])
    return net.eval()


def _watch(net, size):
    return watch(net, torch.randn(3, *size), torch.zeros(3, *size, dtype=torch.uint8))


@pytest.mark.parametrize("spec", [gcnet.GlobalContext.spec(ratio=1 / 2), gcnet.SimplifiedNonLocal.spec()])
def test_attention_of_the_last_block(spec):
    net, clip = _net(spec), torch.randn(3, 8, 10, 12)
    path, row = watch(net, clip, torch.zeros(3, 8, 10, 12, dtype=torch.uint8))
    assert path == "2.context_block"
    assert row.points == ()
    (panel,) = row.panels
    features = nn.Sequential(*list(net)[:2])(clip[None])
    features = nn.functional.conv3d(features, net[2].weight, net[2].bias)
    key = net[2].context_block.key
    logits = (features[0] * key.weight.view(8, 1, 1, 1)).sum(0) + key.bias
    torch.testing.assert_close(panel.map.weights.float(), 120 * logits.flatten().softmax(0).view(4, 5, 6))


def test_maps_too_small_to_see_are_passed_over():
    net = _net(gcnet.GlobalContext.spec(ratio=1 / 2))
    assert _watch(net, (4, 8, 8))[0] == "2.context_block"
    assert _watch(net, (4, 6, 6))[0] == "0.context_block"
    assert _watch(net, (4, 2, 2))[0] == "2.context_block"


@pytest.mark.parametrize("subsample", [None, "before"])
def test_attention_of_a_non_local_block_is_that_of_the_centre(subsample):
    net = _net(gcnet.NonLocal.spec(subsample=subsample, subsample_size=(1, 2, 2)))
    _, row = _watch(net, (8, 8, 12))
    assert row.points == ((0.5, 0.5, 0.5),)
    assert [panel.title for panel in row.panels] == ["query 1", "mean map"]
    assert row.panels[0].map.weights.shape == ((4, 4, 6) if subsample is None else (4, 2, 3))


def test_blocks_that_do_not_attend(tmp_path):
    clip = torch.zeros(3, 2, 8, 8, dtype=torch.uint8)
    for spec in (gcnet.SqueezeExcite.spec(ratio=1 / 2), gcnet.GlobalContext.spec(ratio=1 / 2, pooling="average")):
        assert _watch(_net(spec), (4, 8, 8)) is None
        strip(tmp_path / "plain.png", _net(spec), torch.randn(3, 2, 8, 8), clip, "plain")
        assert (tmp_path / "plain.png").stat().st_size > 1000


def test_a_strip_shows_where_the_block_looks(tmp_path):
    net = nn.Sequential(gcnet.SimplifiedNonLocal(3)).eval()
    with torch.no_grad():
        net[0].key.weight.copy_(torch.full((1, 3), 9.0))
    inputs = torch.zeros(3, 4, 32, 32)
    inputs[:, 3, :4, :4] = 1
    clip = torch.full((3, 4, 32, 32), 128, dtype=torch.uint8)
    strip(tmp_path / "a.png", net, inputs, clip, "a.mp4: wave")
    picture = (255 * matplotlib.image.imread(tmp_path / "a.png")[..., :3]).astype(int)
    height, width, _ = picture.shape
    saturation = np.ptp(picture, axis=2)
    assert saturation[height // 2 :, : int(width * 0.65)].max() < 30
    assert saturation[height // 2 :, int(width * 0.65) : int(width * 0.75)].max() > 50  # the last of the frames
    assert saturation[: height // 2, 20:-20].max() < 30
