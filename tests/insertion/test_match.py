"""Choosing sites by stage and by pattern, and what is said when nothing fits."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import gcnet
from gcnet.insertion.attach import host_modules
from gcnet.insertion.match import by_pattern, by_stage, candidates

from .nets import Plain, resnet


def paths(stages: Any = None, blocks: Any = None) -> list[str]:
    return [path for _, path in by_stage(resnet(layers=(1, 4, 6, 3)), stages, blocks)]


def test_stages_in_the_order_of_the_network() -> None:
    found = by_stage(resnet(layers=(1, 2, 1, 1)), ("c5", "c3"), None)
    assert found == [("c3", "layer2.0"), ("c3", "layer2.1"), ("c5", "layer4.0")]


@pytest.mark.parametrize(
    ("stages", "blocks", "expected"),
    [
        ("c4", -2, ["layer3.4"]),
        (("c4",), (-2,), ["layer3.4"]),
        ("c4", [5, 1, 3], ["layer3.1", "layer3.3", "layer3.5"]),
        (None, {"c3": [1, 3], "c4": (1, 3, 5)}, ["layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"]),
        (("c3", "c5"), {"c3": 0}, ["layer2.0", "layer4.0", "layer4.1", "layer4.2"]),
    ],
)
def test_blocks(stages: Any, blocks: Any, expected: list[str]) -> None:
    assert paths(stages, blocks) == expected


@pytest.mark.parametrize(
    ("stages", "blocks", "error", "message"),
    [
        (None, None, ValueError, r"say where: stages=, out of c2 \(1 blocks\), c3 \(4 blocks\)"),
        ("c6", None, ValueError, "'c6' is not a stage of this model; it has c2, c3, c4, c5"),
        ("c4", 6, ValueError, "blocks=6 is out of range: c4 has 6 blocks, 0 to 5"),
        ("c4", -7, ValueError, "blocks=-7 is out of range"),
        ("c4", [1, -5], ValueError, "names a block of c4 twice"),
        ("c4", [True], TypeError, "takes integers"),
        ("c4", ["1"], TypeError, "takes integers"),
        ("c4", {"c3": 1}, ValueError, "names 'c3', which is not among"),
    ],
)
def test_wrong_stages_and_blocks(stages: Any, blocks: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        paths(stages, blocks)


def test_an_unknown_network_is_told_its_patterns() -> None:
    with pytest.raises(ValueError, match=r"use match= .* 'units.\*' \(3 x Sequential\)"):
        by_stage(Plain(), "c4", None)


def test_several_backbones() -> None:
    model = nn.ModuleDict({"left": resnet(), "right": resnet()})
    with pytest.raises(ValueError, match="several backbones: 'left', 'right'"):
        by_stage(model, "c4", None)
    assert by_stage(model["left"], "c5", None) == [("c5", "layer4.0")]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("layer3.*", ["layer3.0", "layer3.1"]),
        ("layer[34].0", ["layer3.0", "layer4.0"]),
        ("layer?.1", ["layer2.1", "layer3.1"]),
        (["layer4.0", "layer1.0"], ["layer1.0", "layer4.0"]),
        ("**.downsample.0", [f"layer{i}.0.downsample.0" for i in (1, 2, 3, 4)]),
        ("layer3.**.conv1", ["layer3.0.conv1", "layer3.1.conv1"]),
        ("layer*", ["layer1", "layer2", "layer3", "layer4"]),
        ("layer3.0.**.conv1", ["layer3.0.conv1"]),
    ],
)
def test_patterns(match: Any, expected: list[str]) -> None:
    assert by_pattern(resnet(), match) == expected


@pytest.mark.parametrize(
    ("match", "error", "message"),
    [
        ("layer9.*", ValueError, r"match='layer9.\*' matches no module; near it: 'layer"),
        (["layer3.*", "conv9"], ValueError, "match='conv9' matches no module"),
        ("layer3.**", ValueError, r"'layer3.0.conv1' lies inside 'layer3.0'"),
        ("**", ValueError, r"narrower, one of: 'layer2.\*', 'layer3.\*'"),
        ((), ValueError, "match= is empty"),
        ([3], TypeError, "match= takes strings"),
        ("", ValueError, "matches no module"),
    ],
)
def test_wrong_patterns(match: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        by_pattern(resnet(), match)


def test_candidates_are_repeating_modules_of_one_class() -> None:
    found = candidates(host_modules(resnet()))
    assert found == {"layer2.*": "2 x Bottleneck", "layer3.*": "2 x Bottleneck"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stages": "c3", "blocks": []}, ValueError, "names no block of c3"),
        ({"stages": ("c4", "c5"), "blocks": {"c4": [], "c5": 0}}, ValueError, "names no block of c4"),
        ({"stages": "c3", "blocks": 1.5}, TypeError, r"blocks=1.5 must be an int"),
        ({"stages": 3}, TypeError, "stages=3 must be a string such as 'c3'"),
        ({"stages": ["c3", ["c4"]]}, TypeError, r"not \['c4'\]"),
        ({"stages": b"c3"}, TypeError, "stages=b'c3'"),
        ({"match": 3}, TypeError, "match=3 must be a string"),
    ],
)
def test_wrong_kinds_of_arguments(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gcnet.plan(resnet(), gcnet.GlobalContext.spec(), **options)
