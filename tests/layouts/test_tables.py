"""Tables of foreign keys: complete, and the same forwards and backwards."""

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from gcnet.layouts import FOREIGN, Key, to_ours, to_theirs
from gcnet.layouts.twin import difference, known, restore, twin

timm_layers = pytest.importorskip("timm.layers", reason="needs timm")
misc = pytest.importorskip("torchvision.ops.misc", reason="needs torchvision")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    bricks = pytest.importorskip("mmcv.cnn.bricks", reason="needs mmcv-lite")
from timm.layers.non_local_attn import NonLocalAttn  # noqa: E402
from timm.models._efficientnet_blocks import SqueezeExcite  # noqa: E402
from timm.models.senet import SEModule as SenetModule  # noqa: E402


def non_local(dims, mode, extra):
    plain = "norm" not in extra
    return getattr(bricks, f"NonLocal{dims}d")(
        32,
        mode=mode,
        use_scale=extra != " unscaled",
        sub_sample=not plain,
        norm_cfg=None if plain else {"type": f"BN{dims}d"},
    )


PEERS = {
    "timm GlobalContext": lambda: timm_layers.GlobalContext(32),
    "timm GlobalContext add": lambda: timm_layers.GlobalContext(32, fuse_add=True, fuse_scale=False),
    "timm GlobalContext average": lambda: timm_layers.GlobalContext(32, use_attn=False, fuse_add=True),
    "timm SEModule": lambda: timm_layers.SEModule(32),
    "timm SEModule bias": lambda: timm_layers.SEModule(32, bias=False),
    "timm SEModule silu": lambda: timm_layers.SEModule(32, act_layer="silu", gate_layer="hard_sigmoid"),
    "timm senet": lambda: SenetModule(32, 4),
    "timm SqueezeExcite": lambda: SqueezeExcite(32, act_layer=nn.SiLU),
    "timm NonLocalAttn": lambda: NonLocalAttn(32),
    "timm NonLocalAttn unscaled": lambda: NonLocalAttn(32, use_scale=False),
    "torchvision": lambda: misc.SqueezeExcitation(32, 8),
    "torchvision hard": lambda: misc.SqueezeExcitation(32, 8, nn.SiLU, nn.Hardsigmoid),
    **{
        f"mmcv ContextBlock {pooling} {fusion}": lambda p=pooling, f=fusion: bricks.ContextBlock(32, 1 / 4, p, f)
        for pooling in ("att", "avg")
        for fusion in (("channel_add",), ("channel_mul",), ("channel_add", "channel_mul"))
    },
    **{
        f"mmcv NonLocal{dims}d {mode}{extra}": lambda d=dims, m=mode, e=extra: non_local(d, m, e)
        for dims in (1, 2, 3)
        for mode in ("gaussian", "embedded_gaussian", "dot_product", "concatenation")
        for extra in ("", " unscaled", " sub-sampled with norm")
    },
}


@pytest.mark.parametrize("name", PEERS)
def test_there_and_back_is_bit_identical(name):
    peer = PEERS[name]()
    foreign = known(peer)
    reading = foreign.read(peer)
    expected = {key: value.clone() for key, value in peer.state_dict().items()}
    ours = twin(peer, foreign, reading)
    assert isinstance(ours, foreign.block)
    assert ours.state_dict().keys() == to_ours(reading.keys, expected).keys()
    back = to_theirs(reading.keys, ours.state_dict())
    assert back.keys() == expected.keys()
    assert all(torch.equal(back[key], value) and back[key].shape == value.shape for key, value in expected.items())
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.zero_()
    restore(ours, peer, reading.keys)
    assert all(torch.equal(peer.state_dict()[key], value) for key, value in expected.items())
    assert difference(peer, foreign) < 1e-12


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=str)
def test_every_known_class_exists(foreign):
    module, _, name = foreign.name.rpartition(".")
    __import__(module)
    assert foreign.name in {known(PEERS[peer]()).name for peer in PEERS}
    assert getattr(sys.modules[module], name).__module__ == module


def test_no_key_twice():
    for name, make in PEERS.items():
        keys = known(make()).read(make()).keys
        assert len({key.theirs for key in keys}) == len({key.ours for key in keys}) == len(keys), name


def test_what_the_table_lacks_is_an_error():
    keys = (Key("fc.weight", "reduce.weight", 2),)
    with pytest.raises(ValueError, match=r"other\.weight: no counterpart"):
        to_ours(keys, {"other.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"other\.weight: no counterpart"):
        to_theirs(keys, {"other.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"\(4, 8, 3, 3\), expected 2 trailing axes of length one"):
        to_ours(keys, {"fc.weight": torch.zeros(4, 8, 3, 3)})


def test_the_proof_finds_a_wrong_option():
    peer = misc.SqueezeExcitation(32, 8)
    peer.avgpool = nn.AdaptiveMaxPool2d(1)
    with pytest.raises(ValueError, match="outputs are not those of SqueezeExcite"):
        difference(peer, known(peer))


def test_no_other_library_is_imported():
    code = "import sys, gcnet.layouts, gcnet.insertion.swap; print({'timm', 'torchvision', 'mmcv'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
