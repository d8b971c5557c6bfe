"""The context: what is chosen, what is an error, and that nothing stays behind."""

import copy
import gc
import threading
import weakref

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint

import gcnet
from gcnet.analysis.capture import Captured, Maps
from tests.blocks.cases import perturb

X = torch.randn(2, 8, 5, 4)


def network():
    return nn.Sequential(perturb(gcnet.NonLocal(8)), nn.ReLU(), perturb(gcnet.GlobalContext(8, 1 / 2)))


@pytest.mark.parametrize(
    ("match", "paths"),
    [
        (None, ["0", "2"]),
        ("0", ["0"]),
        ("*", ["0", "2"]),
        (["2", "0"], ["0", "2"]),
        ("**", ["0", "2"]),
    ],
)
def test_choice_of_layers(match, paths):
    net = network()
    with gcnet.capture(net, match) as maps:
        net(X)
    assert [*maps] == paths


def test_a_pattern_chooses_what_is_inside():
    net = nn.Sequential(network(), network())
    with gcnet.capture(net, "1") as maps:
        net(X)
    assert [*maps] == ["1.0", "1.2"]


@pytest.mark.parametrize(
    ("match", "message"),
    [
        ("encoder.layer.*", "near it: 'encoder.layers', 'encoder'; this model has 'encoder.layers.encoder_layer_0"),
        ("heads", "match='heads' matches no module with attention"),
        (3, "match=3 must be a string"),
        ([], r"match=\[\] holds no pattern"),
    ],
)
def test_a_pattern_that_matches_nothing(match, message):
    net = torchvision.models.VisionTransformer(32, 8, 2, 4, 16, 32)
    with pytest.raises((ValueError, TypeError), match=message), gcnet.capture(net, match):
        pass


def test_a_model_without_attention():
    net = torchvision.models.resnet18()
    with pytest.raises(ValueError, match=r"gcnet.insert\(model, .*'layer1.\*' \(2 x BasicBlock\)"), gcnet.capture(net):
        pass
    with pytest.raises(ValueError, match="has no attention"), gcnet.capture(gcnet.GlobalContext(64, pooling="average")):
        pass


def test_nothing_ran():
    net = network()
    with pytest.raises(ValueError, match="none of '0', '2' attended inside the context"), gcnet.capture(net):
        net[1](X)
    with pytest.raises(KeyError, match="its own"), gcnet.capture(net):
        raise KeyError("its own")
    with gcnet.capture(net) as maps:
        net(X)
        maps.clear()
    assert len(maps) == 0


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([], "queries= is empty"),
        ([(0.5, 1.5)], r"\(0.5, 1.5\) is no point"),
        ([(0.5, float("nan"))], "is no point"),
        ([0.5], "0.5 is no point"),
        ([("a", 0)], r"\('a', 0\) is no point"),
        (0.5, "queries=0.5 are no points"),
        ([(0.5, 0.5), (0.5,)], "points of 2 and 1 axes"),
        ([(0.5,)], r"has 1 axes, but '0' attends over 2, \(5, 4\)"),
    ],
)
def test_queries_that_do_not_fit(queries, message):
    net = network()
    with pytest.raises(ValueError, match=message), gcnet.capture(net, queries=queries):
        net(X)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_what_is_no_model():
    with pytest.raises(TypeError, match="not a built"), gcnet.capture(gcnet.NonLocal):
        pass
    scripted = torch.jit.script(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="ScriptModule"), gcnet.capture(scripted):
        pass
    net = nn.Sequential(gcnet.NonLocal(8), scripted)
    with gcnet.capture(net) as maps:
        net[0](X)
    assert [*maps] == ["0"]


def test_calls_add_up_until_they_are_cleared():
    net = network()
    net.append(net[0])  # one module twice in a forward
    with gcnet.capture(net) as maps:
        net(X)
        first_of_all, first = maps.calls("0")
        net(2 * X)
        assert [len(maps.calls(path)) for path in maps] == [4, 2]
        assert maps["0"] is maps.calls("0")[-1] is not first
        maps.clear()
        assert len(maps) == 0
        net(X)
    assert torch.equal(maps.calls("0")[0].attention, first_of_all.attention)
    assert repr(maps) == "Maps('0': 2 calls, '2': 1 calls)"


def test_what_is_kept_does_not_change_with_the_model():
    net, x = network(), X.clone()
    with gcnet.capture(net) as maps:
        net(x)
    expected = net[0].attention_map(X).detach()
    perturb(net)
    x.zero_()
    torch.testing.assert_close(maps["0"].attention, expected)
    assert torch.equal(maps["0"].input, X)


@pytest.mark.parametrize("fails", [True, False])
def test_nothing_stays_behind(fails):
    net = torchvision.models.VisionTransformer(16, 8, 2, 4, 16, 32)
    gcnet.insert(net, gcnet.NonLocal.spec(), match="conv_proj", example=torch.zeros(1, 3, 16, 16))
    keys = {module: set(vars(module)) for module in net.modules()}
    x = torch.randn(1, 3, 16, 16)
    try:
        with gcnet.capture(net) as maps:
            y = net(x)
            if fails:
                raise RuntimeError
    except RuntimeError:
        pass
    for module, own in keys.items():
        assert set(vars(module)) == own
        assert not module._forward_hooks
    kept, saved = [weakref.ref(maps), weakref.ref(maps["conv_proj.context_block"])], weakref.ref(x)
    del x, y  # the graph of y had saved x
    gc.collect()
    assert saved() is None
    whole, parts = weakref.ref(net), [weakref.ref(parameter) for parameter in net.parameters()]
    del net, module, keys, own
    gc.collect()
    assert whole() is None
    assert not any(part() is not None for part in parts)
    assert maps["conv_proj.context_block"].attention.shape == (1, 4, 4)
    del maps
    gc.collect()
    assert not any(ref() is not None for ref in kept)


def test_a_copy_made_inside_is_its_own():
    net = network()
    with gcnet.capture(net) as maps:
        twin = copy.deepcopy(net)
        net(X)
    with torch.no_grad():
        twin[0].out.bias.add_(1)
    assert not torch.equal(twin(X), net(X))
    assert len(maps.calls("0")) == 1
    vit = torchvision.models.VisionTransformer(16, 8, 1, 4, 16, 32).eval()
    x = torch.randn(1, 3, 16, 16)
    with gcnet.capture(vit):
        twin = copy.deepcopy(vit)
        vit(x)
    nn.init.ones_(twin.heads.head.weight)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
        assert not twin(x).any()


@torch.no_grad()
def test_nothing_is_seen_of_a_copy_made_inside():
    for net, x in (network(), X), (nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), torch.randn(2, 5, 8)):
        with gcnet.capture(net) as maps:
            twin = copy.deepcopy(net)
            net(x)
            twin(x)
        twin(x)
        assert {len(maps.calls(path)) for path in maps} == {1}
        kept, maps = weakref.ref(maps), None
        gc.collect()
        assert kept() is None


def test_contexts_within_contexts():
    net = torchvision.models.VisionTransformer(16, 8, 1, 4, 16, 32).eval()
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad(), gcnet.capture(net) as outer:
        net(x)
        with gcnet.capture(net) as inner:
            net(x)
        y = net(x)
    path = next(iter(outer))
    assert (len(outer.calls(path)), len(inner.calls(path))) == (3, 1)
    torch.testing.assert_close(inner[path].attention, outer[path].attention)
    with torch.no_grad():
        assert torch.equal(net(x), y)


@pytest.mark.parametrize("autocast", [True, False])
def test_gradients_are_the_same_to_the_bit(autocast):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.3)
    net = nn.Sequential(network(), nn.Flatten(2), nn.Linear(20, 8), layer)
    grads = []
    for look in (False, True):
        net.zero_grad()
        torch.manual_seed(3)
        x = X.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            if look:
                with gcnet.capture(net) as maps:
                    net(x).square().sum().backward()
            else:
                net(x).square().sum().backward()
        grads.append([x.grad, *(parameter.grad.clone() for parameter in net.parameters())])
    assert all(map(torch.equal, *grads))
    assert [*maps] == ["0.0", "0.2", "3.self_attn"]
    assert not maps["0.0"].query.requires_grad


def test_a_forward_that_runs_again_in_the_backward_pass():
    net, x = network(), X.clone().requires_grad_()
    with gcnet.capture(net) as maps:
        checkpoint(net, x, use_reentrant=False).sum().backward()
    assert len(maps.calls("0")) == 1


def test_threads_within_one_context():
    net = network().eval()
    with gcnet.capture(net) as maps:
        threads = [threading.Thread(target=net, args=(X,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(maps.calls("0")) == len(maps.calls("2")) == 4


def in_threads(*calls):
    """Calls over and over, side by side."""
    threads = [threading.Thread(target=lambda call=call: [call() for _ in range(20)]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_in_fused_encoder_layers_lose_nothing():
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
    tokens = torch.randn(2, 40, 16)
    with gcnet.capture(net) as maps:
        in_threads(*[torch.no_grad()(lambda: net(tokens))] * 4)
    assert [len(maps.calls(path)) for path in maps] == [80, 80]


def test_threads_with_pictures_of_their_own():
    patches, attention = nn.Conv2d(3, 8, 4, 4), nn.MultiheadAttention(8, 2, batch_first=True)
    net = nn.ModuleList([patches, attention])

    def call(pictures, side):
        tokens = patches(torch.randn(pictures, 3, side, side)).flatten(2).transpose(1, 2)
        attention(tokens, tokens, tokens)

    with gcnet.capture(net) as maps:
        in_threads(*(lambda n=n: call(n, 4 * (n + 1)) for n in (1, 2, 4)))
    found = {(len(record.input), record.size, record.windows) for record in maps.calls("1")}
    assert found == {(1, (2, 2), 1), (2, (3, 3), 1), (4, (5, 5), 1)}


def test_wrappers_of_distributed_training(tmp_path):
    net = network()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(net)
        with gcnet.capture(wrapped) as maps:
            wrapped(X).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert [*maps] == ["0", "2"]
    several = nn.DataParallel(net)
    with gcnet.capture(several) as maps:
        several(X)
    assert [*maps] == ["0", "2"]
    several.device_ids = [0, 1]
    with pytest.raises(TypeError, match="DataParallel over 2 devices"), gcnet.capture(several):
        pass


def test_device():
    net = network()
    with gcnet.capture(net, device="meta") as far, gcnet.capture(net, device=None) as near:
        net(X)
    assert far["0"].input.is_meta
    assert near["0"].input.device == X.device


def test_records_say_what_they_are():
    net = network()
    with gcnet.capture(net) as maps:
        net(X)
    record = maps["0"]
    assert isinstance(record, Captured)
    assert isinstance(maps, Maps)
    assert repr(record) == (
        "Captured(path='0', kind='non_local', size=(5, 4), key_size=(5, 4), heads=1, prefix=0, key_prefix=0, "
        "key_stride=(1, 1), windows=1, queries=None)"
    )
    assert record.softmax
    assert not record.pooled
    assert record.positions == 20
    with pytest.raises(ValueError, match=r"\(0.5,\) has 1 axes, but '0' attends over 2"):
        record.position(0.5)
