"""One look of a network, or of two."""

import dataclasses

import pytest
import torch
from PIL import Image
from torch import nn

pytest.importorskip("lightning")

import gcnet
from gcnet.study.looking import look
from gcnet.study.sight import whole
from gcnet.study.subject import Subject


def subject(*blocks):
    net = nn.Sequential(nn.Conv2d(3, 8, 2, stride=2), nn.Sequential(*blocks)).eval()
    return Subject("net", net, whole(None, (0, 0, 0), (1, 1, 1)), net)


@pytest.fixture
def path(tmp_path):
    Image.effect_noise((16, 12), 90).convert("RGB").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_a_pooled_block_of_the_module_stands_beside(path):
    found = look(subject(gcnet.NonLocal(8), gcnet.SimplifiedNonLocal(8)), path, block="1.0")
    assert found.beside.path == "1.1"
    assert [panel.title for panel in found.row.panels][-1] == "SNL block"
    assert look(subject(gcnet.NonLocal(8)), path).beside is None


def test_another_network_sees_the_picture_its_own_way(path):
    other = subject(nn.Identity(), gcnet.SimplifiedNonLocal(8))
    other = dataclasses.replace(other, see=whole(24, (0, 0, 0), (1, 1, 1)))
    found = look(subject(gcnet.NonLocal(8)), path, "0,0", beside=other)
    assert found.row.picture.shape == (3, 12, 16)
    assert found.row.panels[-1].picture.shape == (3, 24, 32)
    assert found.row.panels[-1].map.weights.shape == (12, 16)


def test_images_and_videos_do_not_stand_beside_each_other(path):
    net = subject(gcnet.NonLocal(8))
    with pytest.raises(ValueError, match="beside=net: sees videos, but net sees images"):
        look(net, path, beside=dataclasses.replace(net, kind="video"))


def test_what_went_wrong_names_the_picture(path):
    with pytest.raises(ValueError, match="x=16, but x goes from 0 to 15") as error:
        look(subject(gcnet.NonLocal(8)), path, "16,0")
    assert error.value.__notes__ == [f"looking at {path}"]
    with pytest.raises(ValueError, match="no attention to capture") as error:
        look(subject(nn.Identity()), path)
    assert "gcnet train classification --block nl" in error.value.__notes__[0]


def test_the_network_is_left_as_it_was(path):
    net = subject(gcnet.NonLocal(8, norm=True))
    before = {name: value.clone() for name, value in net.net.state_dict().items()}
    look(net, path)
    assert all(torch.equal(value, before[name]) for name, value in net.net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.net.modules())
