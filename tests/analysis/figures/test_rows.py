"""A picture's panels, and what is said of them in figures."""

import dataclasses
import math

import pytest
import torch

pytest.importorskip("matplotlib")

from gcnet.analysis.capture import Captured
from gcnet.analysis.figures import AttentionMap, attention_row
from gcnet.analysis.figures.points import choose_points
from tests.analysis.figures.shots import Known, one_hot, row_of

PICTURE = torch.zeros(3, 40, 60, dtype=torch.uint8)


def non_local(size=(4, 6), softmax=True):
    rows = torch.randn(1, 1, math.prod(size), math.prod(size))
    source = Known(rows.softmax(3) if softmax else rows, softmax)
    return Captured("nl", "non_local", torch.randn(1, 5, *size), size, size, source)


def pooled(size=(4, 6), kind="global_context"):
    source = Known(torch.randn(1, 1, 1, math.prod(size)).softmax(3))
    return Captured("gc", kind, torch.randn(1, 5, *size), size, size, source)


def titles(row):
    return [panel.title for panel in row.panels]


def test_panels_of_a_non_local_block():
    row = attention_row(non_local(), PICTURE)
    assert titles(row) == ["query 1", "query 2", "query 3", "mean map"]
    assert [panel.point for panel in row.panels[:3]] == list(row.points)
    assert titles(attention_row(non_local(), PICTURE, "1,1;59,39")) == ["query 1", "query 2", "mean map"]
    assert attention_row(non_local(), PICTURE, [(0.5, 0.5)]).points == ((0.5, 0.5),)


def test_what_stands_beside():
    other = torch.ones(3, 20, 20, dtype=torch.uint8)
    row = attention_row(non_local(), PICTURE, "1,1", beside=pooled((5, 5)), beside_picture=other)
    assert titles(row) == ["query 1", "GC block"]
    assert row.panels[-1].picture is other
    assert titles(attention_row(non_local(), PICTURE, "1,1", beside=non_local())) == ["query 1", "mean map,\nNL beside"]
    snl = pooled(kind="simplified_non_local")
    assert titles(attention_row(pooled(), PICTURE, beside=snl)) == ["GC block", "SNL block"]


def test_a_pooled_block_is_asked_only_on_purpose():
    assert titles(attention_row(pooled(), PICTURE)) == ["GC block"]
    assert titles(attention_row(pooled(), PICTURE, "3,3")) == ["query 1", "GC block"]


def test_points_of_a_transformer_come_from_its_tokens():
    tokens = torch.randn(1, 1 + 36, 8)
    source = Known(torch.randn(1, 2, 37, 37).softmax(3))
    seen = Captured("a", "attention", tokens, (6, 6), (6, 6), source, heads=2, prefix=1, key_prefix=1)
    expected = choose_points(tokens[0, 1:].T.reshape(8, 6, 6))
    assert attention_row(seen, PICTURE).points == expected
    assert len(attention_row(dataclasses.replace(seen, input=tokens.transpose(0, 1)), PICTURE).points) == 3


def test_maps_of_other_axes_are_not_drawn():
    with pytest.raises(ValueError, match=r"nl attends over 3 axes, \(2, 4, 6\), the picture has \(40, 60\)"):
        attention_row(non_local((2, 4, 6)), PICTURE)


def test_one_hot_numbers():
    (numbers,) = row_of(PICTURE, one_hot((4, 6), (1, 4)), (0.999, 0.0)).numbers()
    assert numbers["query"] == {"y": 39, "x": 0}
    assert (numbers["positions"], numbers["effective_positions"]) == (24, pytest.approx(1))
    assert numbers["largest"] == {"weight": 1, "times_uniform": 24, "y": 15, "x": 45}
    assert numbers["distance_to_mean"] == 0


def test_numbers_of_a_map_in_float64():
    seen = non_local()
    row = attention_row(seen, PICTURE, "30,20")
    p = seen.attention[0].double()
    one, mean = p[2 * 6 + 3], p.mean(0)
    (numbers,) = row.numbers()
    assert numbers["effective_positions"] == pytest.approx(math.exp(-float((one * one.log()).sum())), rel=1e-6)
    assert numbers["largest"]["weight"] == pytest.approx(float(one.max()), rel=1e-6)
    assert numbers["distance_to_mean"] == pytest.approx(
        (1 - float(one @ mean / one.norm() / mean.norm())) / 2, rel=1e-5
    )
    assert numbers["share_in_picture"] == pytest.approx(1)


def test_entropy_is_of_shares_only():
    (numbers,) = attention_row(non_local(softmax=False), PICTURE, "30,20").numbers()
    assert numbers["effective_positions"] is None
    prefix = AttentionMap(torch.full((4, 6), 0.5), 48, (1.0, 1.0))
    (numbers,) = row_of(PICTURE, prefix).numbers()
    assert numbers["share_in_picture"] == pytest.approx(0.25)
    assert numbers["effective_positions"] == pytest.approx(24)
