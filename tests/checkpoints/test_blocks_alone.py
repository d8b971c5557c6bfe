"""Blocks alone through a conversion, detected and named, and from one source to another."""

import pytest
import torch

from gcnet.checkpoints.convert import to_ours, to_theirs
from tests.layouts.sources import SOURCES, distance, samples


@torch.no_grad()
def outputs(conversion, x):
    block = conversion.architecture.build().to(x.dtype).eval()
    block.load_state_dict(conversion.tensors)
    return block(x)


def check_same(actual, expected):
    assert list(actual) == list(expected)
    for key, value in expected.items():
        assert actual[key].dtype == value.dtype, key
        assert torch.equal(actual[key], value), key


@pytest.mark.parametrize("name", SOURCES)
@torch.no_grad()
def test_same_outputs_and_back_bit_by_bit(name):
    source = SOURCES[name]
    tensors, expected = source.make()
    conversion = to_ours(tensors, layout=source.layout, options=source.options)
    assert conversion.complete, str(conversion)
    x = samples(source.dims)
    assert distance(outputs(conversion, x), expected(x)) <= 1e-12
    check_same(to_theirs(conversion.tensors, conversion.architecture, layout=source.layout).tensors, tensors)


@pytest.mark.parametrize("name", [name for name in SOURCES if not name.startswith("GCNet repository")])
def test_detected_inside_any_network(name):
    source = SOURCES[name]
    tensors, _ = source.make()
    inside = {f"trunk.2.attention.{key}": value for key, value in tensors.items()}
    inside = {"trunk.0.weight": torch.zeros(32, 3, 3, 3), **inside}
    conversion = to_ours(inside, options=source.options)
    assert [block.path for block in conversion.architecture.replaced] == ["trunk.2.attention"]
    assert conversion.complete
    check_same(to_theirs(conversion.tensors, conversion.architecture, layout=conversion.source).tensors, inside)


@pytest.mark.parametrize(
    ("name", "target", "factor", "needed"),
    [
        ("mmcv NonLocal 2d embedded_gaussian norm", "GCNet repository NonLocal2D", 1 / 8, ""),
        ("mmcv NonLocal 2d embedded_gaussian", "AlexHex7 NONLocalBlock", 8**-0.5, ""),
        ("AlexHex7 NONLocalBlock 1D embedded_gaussian", "mmcv NonLocal", None, "use_scale=False"),
        ("AlexHex7 NONLocalBlock 3D embedded_gaussian norm", "SlowFast Nonlocal", 8**0.5, ""),
        ("timm NonLocalAttn", "AlexHex7 NONLocalBlock", 32**-0.5, ""),
        ("SlowFast Nonlocal embedded_gaussian bn", "pytorchvideo NonLocal", None, ""),
        (
            "SlowFast Nonlocal dot_product bn (1, 2, 2)",
            "pytorchvideo NonLocal",
            None,
            "instantiation='dot_product', pool_size=(1, 2, 2)",
        ),
        ("senet.pytorch SELayer", "timm SEModule", None, ""),
        ("timm SqueezeExcite silu", "torchvision SqueezeExcitation", None, "activation=torch.nn.SiLU"),
    ],
)
@torch.no_grad()
def test_from_one_source_to_another(name, target, factor, needed):
    source = SOURCES[name]
    tensors, expected = source.make()
    conversion = to_ours(tensors, layout=source.layout, options=source.options)
    written = to_theirs(conversion.tensors, conversion.architecture, layout=target)
    assert written.complete
    rescaled = [what for what in written.transformed.values() if "logit scale" in what]
    assert len(rescaled) == (0 if factor is None else 2)
    assert all(f"times {factor:.6g} " in what for what in rescaled)
    assert written.needs == ({"": tuple(needed.split(", ", 1))} if needed else {})
    assert f"the block: {needed}" in str(written) or not needed
    options = {"scale": "none"} if needed == "use_scale=False" else source.options
    x = samples(source.dims)
    assert distance(outputs(to_ours(written.tensors, layout=target, options=options), x), expected(x)) <= 1e-12


@pytest.mark.parametrize("layout", ["timm SEModule", "torchvision SqueezeExcitation"])
def test_only_what_has_the_shape_of_a_block_is_one(layout):
    tensors, _ = SOURCES["timm SEModule"].make()
    mixed = {f"se.{key}": value for key, value in tensors.items()}
    mixed |= {
        f"mlp.fc{i}.{leaf}": torch.zeros(8, *(8,) * (leaf == "weight")) for i in (1, 2) for leaf in ("weight", "bias")
    }
    for named in ({}, {"layout": layout}):
        conversion = to_ours(mixed, **named)
        assert [block.path for block in conversion.architecture.replaced] == ["se"]
        check_same(
            {key: conversion.tensors[key] for key in mixed if "mlp" in key},
            {k: v for k, v in mixed.items() if "mlp" in k},
        )


def test_blocks_of_several_layouts_have_to_be_named():
    tensors = {}
    for path, name in (("a", "timm SEModule"), ("b", "timm SqueezeExcite")):
        tensors |= {f"{path}.{key}": value for key, value in SOURCES[name].make()[0].items()}
    with pytest.raises(ValueError, match=r"several layouts: 'a' is 'timm SEModule', .*; 'b' is 'timm SqueezeExcite'"):
        to_ours(tensors)
    conversion = to_ours(tensors, layout="timm SqueezeExcite")
    assert [block.path for block in conversion.architecture.replaced] == ["b"]
    check_same(
        {key: conversion.tensors[key] for key in tensors if key[0] == "a"},
        {k: v for k, v in tensors.items() if k[0] == "a"},
    )


@pytest.mark.parametrize("name", ["vit_b_16", "swin_t", "convnext_tiny", "vgg11_bn"])
def test_networks_without_blocks_are_none(name):
    models = pytest.importorskip("torchvision.models", reason="needs torchvision")
    with torch.device("meta"):
        tensors = models.get_model(name).state_dict()
    with pytest.raises(ValueError, match="no layout fits"):
        to_ours(tensors)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "convnext_atto", "swin_tiny_patch4_window7_224", "poolformer_s12"]
)
def test_networks_of_timm_without_blocks_are_none(name):
    timm = pytest.importorskip("timm", reason="needs timm")
    with torch.device("meta"):
        tensors = timm.create_model(name).state_dict()
    with pytest.raises(ValueError, match="no layout fits"):
        to_ours(tensors)


def test_a_multilayer_perceptron_is_none():
    tensors = torch.nn.ModuleDict(
        {"fc": torch.nn.Sequential(*map(torch.nn.Linear, (8, 32, 16), (32, 16, 8)))}
    ).state_dict()
    with pytest.raises(ValueError, match="no layout fits"):
        to_ours(tensors)


def test_a_damaged_block_is_named_with_its_key():
    tensors, _ = SOURCES["mmcv NonLocal 2d embedded_gaussian"].make()
    wrong = tensors | {"phi.conv.weight": torch.zeros(7, 32, 1, 1)}
    with pytest.raises(ValueError, match=r"the block .*phi\.conv\.weight has shape \(7, 32, 1, 1\), .*\(8, 32, 1, 1\)"):
        to_ours(wrong, layout="mmcv NonLocal")
    lacking = {key: value for key, value in tensors.items() if key != "phi.conv.bias"}
    assert to_ours(lacking, layout="mmcv NonLocal").missing == ("key.bias",)
