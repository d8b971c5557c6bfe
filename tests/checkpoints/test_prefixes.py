"""Prefixes of wrappers go; names of networks stay."""

import pytest
import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.prefixes import strip
from gcnet.checkpoints.reader import read


@pytest.mark.parametrize(
    ("wrapped", "bare"),
    [
        (["module.a", "module.b"], ["a", "b"]),
        (["module.model.a"], ["a"]),
        (["model._orig_mod.a.w", "model._orig_mod.b"], ["a.w", "b"]),
        (["backbone.a", "backbone.b"], ["backbone.a", "backbone.b"]),
        (["model.a", "head.b"], ["model.a", "head.b"]),
        (["module.a", "b"], ["a", "b"]),
        (["layer1._orig_mod.conv", "fc"], ["layer1.conv", "fc"]),
    ],
)
def test_prefixes(wrapped, bare):
    assert list(strip(dict.fromkeys(wrapped, 1))[0]) == bare


def test_a_prefix_that_hides_two_tensors_under_one_key_is_an_error():
    with pytest.raises(CheckpointError, match=r"module\.a"):
        strip({"a": 1, "module.a": 2})


def test_live_wrappers():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    expected = net.state_dict().keys()
    for wrapped in (torch.nn.DataParallel(net), torch.compile(net), torch.optim.swa_utils.AveragedModel(net)):
        assert read(wrapped.state_dict()).tensors.keys() == expected
    assert any("n_averaged" in note for note in read(wrapped.state_dict()).notes)
