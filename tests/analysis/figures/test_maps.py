"""Maps of chosen queries against those laid out by the blocks themselves."""

import dataclasses

import pytest
import torch
from torch import nn

import gcnet
from gcnet.analysis.capture import Captured, capture
from gcnet.analysis.figures.maps import choose_block, mean_map, pooled_neighbour, query_maps, same_layer
from tests.analysis.figures.shots import Known


def seen_by(block, x):
    with capture(block) as maps:
        block(x)
    return next(iter(maps.values()))


@pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian", "dot_product", "concatenation"])
@pytest.mark.parametrize("subsample", [None, "before"])
def test_the_map_of_a_query_is_its_row(pairwise, subsample):
    block, x = gcnet.NonLocal(8, pairwise=pairwise, subsample=subsample).double(), torch.randn(2, 8, 7, 9).double()
    torch.nn.init.normal_(block.key.weight if block.key else block.value.weight)
    seen = seen_by(block, x)
    rows = block.attention_map(x)[1]
    keys = (7, 9) if subsample is None else (3, 4)
    first, last = query_maps(seen, [(0.0, 0.0), (0.99, 0.35)], sample=1)
    torch.testing.assert_close(first.weights, (rows[0] * rows.shape[1]).view(keys))
    torch.testing.assert_close(last.weights, (rows[6 * 9 + 3] * rows.shape[1]).view(keys))
    torch.testing.assert_close(mean_map(seen, sample=1).weights, (rows.mean(0) * rows.shape[1]).view(keys))
    assert last.keys == rows.shape[1]
    assert last.reach == pytest.approx((1, 1) if subsample is None else (6 / 7, 8 / 9))
    assert last.softmax == ("gaussian" in pairwise)


@pytest.mark.parametrize("block", [gcnet.GlobalContext(16, 1 / 4), gcnet.SimplifiedNonLocal(16)])
def test_a_pooled_block_has_one_map(block):
    x = torch.randn(1, 16, 4, 4, 6)
    seen = seen_by(block, x)
    found = query_maps(seen, [(0.1, 0.1, 0.1), (0.9, 0.9, 0.9)])
    expected = (96 * block.attention_map(x)[0]).view(4, 4, 6)
    for one in (*found, mean_map(seen)):
        torch.testing.assert_close(one.weights.float(), expected)


def tokens(heads=2, prefix=1, size=(3, 4), width=5):
    """A transformer's attention, and its rows in full."""
    count = prefix + size[0] * size[1]
    query, key = torch.randn(2, heads, count, width).double(), torch.randn(2, heads, count, width).double()
    x = torch.randn(2, count, 6)
    rows = (0.5 * query @ key.transpose(2, 3)).softmax(3)
    seen = Captured("blocks.1.attn", "attention", x, size, size, Known(rows), heads, prefix, prefix)
    return seen, rows


def test_tokens_before_the_picture_take_part_but_are_not_shown():
    seen, rows = tokens()
    (mean,) = query_maps(seen, [(0.4, 0.3)], sample=1)
    torch.testing.assert_close(mean.weights, 13 * rows[1, :, 1 + 4 + 1, 1:].mean(0).view(3, 4))
    (head,) = query_maps(seen, [(0.4, 0.3)], sample=1, head=1)
    torch.testing.assert_close(head.weights, 13 * rows[1, 1, 1 + 4 + 1, 1:].view(3, 4))
    torch.testing.assert_close(mean_map(seen, head=0).weights, 13 * rows[0, 0, 1:, 1:].mean(0).view(3, 4))
    assert head.keys == 13


def test_the_mean_is_taken_in_pieces(monkeypatch):
    seen, _ = tokens()
    whole = mean_map(seen).weights
    monkeypatch.setattr("gcnet.analysis.figures.maps._CHUNK", 5)
    torch.testing.assert_close(mean_map(seen).weights, whole)


@pytest.mark.parametrize("head", [-1, 2])
def test_heads_that_are_not_there(head):
    with pytest.raises(ValueError, match=rf"head={head}: blocks.1.attn has heads 0 to 1"):
        query_maps(tokens()[0], [(0.5, 0.5)], head=head)


def network():
    """Blocks on maps of full size, half of it, and an eighth."""
    blocks = [gcnet.SimplifiedNonLocal(3) for _ in range(3)]
    return nn.Sequential(blocks[0], nn.MaxPool2d(2), blocks[1], nn.MaxPool2d(4), blocks[2])


def maps_of(net, size=16):
    with capture(net) as maps:
        net(torch.randn(1, 3, size, size))
    return maps


def test_the_last_block_that_can_be_seen():
    maps = maps_of(network())
    assert list(maps) == ["0", "2", "4"]
    assert choose_block(maps) == "2"
    assert choose_block(maps_of(network(), 24)) == "2"
    assert choose_block(maps_of(network(), 32)) == "4"
    assert choose_block(maps, "4") == "4"
    with pytest.raises(ValueError, match=r"block='3' is not one of '0', '2', '4'"):
        choose_block(maps, "3")


def test_a_block_can_be_named_by_the_module_that_it_is_in():
    maps = maps_of(nn.Sequential(nn.Sequential(gcnet.SimplifiedNonLocal(3)), nn.Identity()))
    assert choose_block(maps, "0") == choose_block(maps, "0.0") == "0.0"


def test_the_same_layer_of_another_network():
    maps = maps_of(network())
    elsewhere = maps_of(gcnet.NonLocal(3, hidden=2), 8)
    (seen,) = elsewhere.values()
    assert seen.path not in maps
    assert same_layer(maps, seen).path == "2"  # of the same size
    assert same_layer(elsewhere, maps["2"]) is seen
    assert same_layer(maps, maps["0"]).path == "0"


def test_a_pooled_block_of_the_same_module():
    net = nn.Sequential(nn.Sequential(gcnet.NonLocal(16), gcnet.SimplifiedNonLocal(16)), gcnet.SimplifiedNonLocal(16))
    with capture(net) as maps:
        net(torch.randn(1, 16, 4, 4))
    assert pooled_neighbour(maps, maps["0.0"]) is maps["0.1"]
    assert pooled_neighbour(maps, maps["1"]) is None


def test_maps_that_lie_over_no_picture_are_passed_over():
    maps = dict(maps_of(network()))
    seen, _ = tokens(size=(4, 4))
    maps["windows"] = dataclasses.replace(seen, windows=4)
    maps["tokens"] = dataclasses.replace(seen, size=(16,), key_size=(16,))
    assert choose_block(maps) == "2"
    with pytest.raises(ValueError, match=r"blocks.1.attn: attends within 4 windows of 4 x 4, and .* choose another"):
        query_maps(maps["windows"], [(0.5, 0.5)])
    with pytest.raises(ValueError, match=r"attends over tokens on no grid that is known, and .* choose another"):
        mean_map(maps["tokens"])


@pytest.mark.parametrize("window", [2, 3, 4])
@pytest.mark.parametrize("extent", [2, 3, 5, 7, 8, 13])
def test_keys_cover_what_pooling_covers(extent, window):
    block = gcnet.NonLocal(4, subsample="after", subsample_size=(window, 1))
    (found,) = query_maps(seen_by(block, torch.randn(1, 4, extent, 2)), [(0.5, 0.5)])
    assert found.reach == ((extent - extent % min(window, extent)) / extent, 1)
