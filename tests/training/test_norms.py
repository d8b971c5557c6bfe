"""Batch norms that keep their statistics, and their conversion."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchvision.models import resnet18
from torchvision.models.segmentation import fcn_resnet50

pytest.importorskip("timm")

import timm

import gcnet
from gcnet.models import mask_rcnn
from gcnet.models.classifiers import resnet
from gcnet.training.norms import fix_norms, synchronise_norms


def net_with_blocks():
    net = resnet18(num_classes=2)
    gcnet.insert(net, gcnet.NonLocal.spec(norm=True), stages="c5")
    return net


def moved(net, images=None):
    """Names of the buffers that a forward in training mode moves."""
    before = {name: value.clone() for name, value in net.named_buffers()}
    net.train()(torch.randn(2, 3, 64, 64) if images is None else images)
    return [name for name, value in net.named_buffers() if not torch.equal(value, before[name])]


def same(net):
    return net


def pickled(net):
    return pickle.loads(pickle.dumps(net))


@pytest.mark.parametrize("copied", [same, copy.deepcopy, pickled])
def test_fixed_statistics_survive_training_mode_and_copies(copied):
    net = net_with_blocks()
    fix_norms(net)
    net = copied(net)
    changed = moved(net)
    assert changed
    assert all(".context_block.norm." in name for name in changed)


def test_fixed_statistics_survive_ddp(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    fix_norms(net)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        assert moved(nn.parallel.DistributedDataParallel(net)) == []
    finally:
        torch.distributed.destroy_process_group()


def test_factors_train_on():
    net = resnet18(num_classes=2)
    fix_norms(net)
    net.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert net.layer1[0].bn1.weight.requires_grad
    assert net.layer1[0].bn1.weight.grad.abs().sum() > 0


def test_only_the_backbone_of_a_larger_network():
    net = fcn_resnet50(weights=None, weights_backbone=None, num_classes=2)
    fix_norms(net)
    assert {name.partition(".")[0] for name in moved(net)} == {"classifier"}


def test_a_fixed_host_can_be_compiled():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    fix_norms(net)
    x = torch.randn(2, 3, 4, 4)
    expected = net.train()(x)
    assert torch.allclose(torch.compile(net, backend="eager", fullgraph=True)(x), expected)
    assert torch.equal(net[1].running_mean, torch.zeros(4))


def test_a_saved_host_with_fixed_norms_is_still_known(tmp_path):
    net = net_with_blocks()
    fix_norms(net)
    loaded = gcnet.load(gcnet.save(net, tmp_path / "net.safetensors"))
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(x), net.eval()(x))


def test_frozen_norms_of_a_detector_are_fixed_already():
    net = mask_rcnn(resnet((1, 1, 1, 1), block="basic", norm="frozen_batch", device="meta"), 3)
    fix_norms(net)
    with pytest.raises(ValueError, match="norm='sync': MaskRCNN has no batch norms"):
        synchronise_norms(net)


def test_synchronised_norms_keep_names_and_blocks():
    net = net_with_blocks()
    x = torch.randn(1, 3, 64, 64)
    before, expected = {key: value.clone() for key, value in net.state_dict().items()}, net.eval()(x)
    synchronise_norms(net)
    assert not [path for path, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert len(gcnet.status(net)) == 2
    assert torch.equal(net(x), expected)


def test_norms_of_timm_keep_their_activation():
    net = timm.create_model("gernet_s", num_classes=2).eval()
    x = torch.randn(1, 3, 64, 64)
    expected = net(x)
    synchronise_norms(net)
    assert torch.equal(net(x), expected)


def test_a_host_without_batch_norms():
    with pytest.raises(ValueError, match="norm='fixed': Sequential has no batch norms; leave it at 'batch'"):
        fix_norms(nn.Sequential(nn.Conv2d(3, 4, 1)))
