"""What a reading assumes, and errors that name what does not fit."""

import pytest
import torch

from gcnet.layouts import BLOCK_LAYOUTS
from tests.layouts.sources import CHANNELS, HIDDEN, SOURCES


def tensors_of(name):
    return SOURCES[name].make()[0]


@pytest.mark.parametrize(
    ("name", "assumed"),
    [
        ("AlexHex7 NONLocalBlock 2D embedded_gaussian", {"pairwise": "embedded_gaussian", "scale": "none"}),
        ("AlexHex7 NONLocalBlock 1D gaussian sub-sampled norm", {"subsample_size": 2}),
        ("AlexHex7 NONLocalBlock 3D concatenation sub-sampled", {"subsample_size": (1, 2, 2)}),
        (
            "SlowFast Nonlocal embedded_gaussian bn",
            {"pairwise": "embedded_gaussian", "scale": "inverse_sqrt", "subsample": None},
        ),
        ("GCNet repository NonLocal2D embedded_gaussian", {"pairwise": "embedded_gaussian", "scale": "sqrt"}),
        ("senet.pytorch SELayer", {}),
    ],
)
def test_what_tensors_do_not_tell_is_assumed(name, assumed):
    layout, tensors = BLOCK_LAYOUTS[SOURCES[name].layout], tensors_of(name)
    assert dict(layout.read(tensors, {}).assumed) == assumed
    told = layout.read(tensors, assumed)
    assert not told.assumed
    assert told.options == layout.read(tensors, {}).options


def test_the_four_rules_and_numbers():
    layout, tensors = BLOCK_LAYOUTS["AlexHex7 NONLocalBlock"], tensors_of("AlexHex7 NONLocalBlock 2D embedded_gaussian")
    factors = {"none": None, "inverse_sqrt": HIDDEN**-0.5, "inverse_sqrt_input": CHANNELS**-0.5, "sqrt": HIDDEN**0.5}
    for rule, factor in {**factors, 0.25: 0.25, None: None}.items():
        assert layout.read(tensors, {"scale": rule}).options["scale"] == factor


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("mmcv ContextBlock att channel_add", {"pooling": "average"}, "given, but this .* has pooling='attention'"),
        ("mmcv ContextBlock att channel_add", {"norm_epsilon": 1}, "did you mean 'norm_eps'"),
        ("senet.pytorch SELayer", {"activation": "silu"}, "this senet.pytorch SELayer has activation='relu'"),
        ("timm SqueezeExcite ", {"gate_function": "sigmoyd"}, "did you mean 'sigmoid'"),
        ("AlexHex7 NONLocalBlock 2D dot_product", {"pairwise": "gaussian"}, "not one of 'embedded_gaussian', 'dot_"),
        ("AlexHex7 NONLocalBlock 2D gaussian", {"pairwise": "dot_product"}, "has pairwise='gaussian'"),
        ("AlexHex7 NONLocalBlock 2D gaussian", {"scale": 2}, "this AlexHex7 NONLocalBlock has scale=None"),
        ("AlexHex7 NONLocalBlock 2D dot_product", {"scale": "sqr"}, "neither a number nor one of .* 'sqrt'"),
        ("AlexHex7 NONLocalBlock 2D dot_product", {"subsample": "after"}, "has subsample=None"),
        (
            "AlexHex7 NONLocalBlock 2D dot_product sub-sampled",
            {"subsample_size": (1, 2, 2)},
            "3 axes, the block has 2",
        ),
        ("SlowFast Nonlocal dot_product bn", {"subsample": "after"}, "is not one of None, 'before'"),
        ("SlowFast Nonlocal dot_product bn", {"subsample_size": 2}, "no option 'subsample_size' here"),
    ],
)
def test_an_option_that_does_not_fit_is_an_error(name, options, reason):
    name = next(known for known in SOURCES if known.startswith(name.strip()))
    with pytest.raises(ValueError, match=reason):
        BLOCK_LAYOUTS[SOURCES[name].layout].read(tensors_of(name), options)


def test_a_shape_that_does_not_fit_is_an_error():
    layout, tensors = BLOCK_LAYOUTS["AlexHex7 NONLocalBlock"], tensors_of("AlexHex7 NONLocalBlock 2D embedded_gaussian")
    with pytest.raises(ValueError, match=r"theta\.weight has shape \(9, 32, 1, 1\), .* has \(8, 32, 1, 1\)"):
        layout.read({**tensors, "theta.weight": torch.zeros(9, 32, 1, 1)}, {})
    with pytest.raises(ValueError, match=r"W\.weight has shape \(32, 8, 3, 3\), .* \('out', 'in', 1, 1\)"):
        layout.read({**tensors, "W.weight": torch.zeros(32, 8, 3, 3)}, {})
    with pytest.raises(ValueError, match="1 or 2 or 3 spatial axes, these tensors 0"):
        layout.read({**tensors, "W.weight": torch.zeros(32, 8)}, {})
    with pytest.raises(ValueError, match=r"has tensors W\.weight, which are missing"):
        layout.read({name: value for name, value in tensors.items() if name != "W.weight"}, {})
    with pytest.raises(ValueError, match=r"has a tensor conv_reduce\.weight; here are"):
        BLOCK_LAYOUTS["timm SqueezeExcite"].read(tensors, {})
    with pytest.raises(ValueError, match=r"has a tensor mlp_add\.fc1\.weight; here are none"):
        BLOCK_LAYOUTS["timm GlobalContext"].read({}, {})


def test_biases_that_the_class_lacks_are_read_and_not_written():
    layout, tensors = BLOCK_LAYOUTS["senet.pytorch SELayer"], tensors_of("senet.pytorch SELayer")
    tensors |= {"fc.0.bias": torch.ones(HIDDEN), "fc.2.bias": torch.ones(CHANNELS)}
    reading = layout.read(tensors, {})
    assert reading.options["bias"]
    with pytest.raises(ValueError, match="has no biases"):
        layout.write(layout.block(reading.channels, **reading.options), 2)


def test_biases_that_are_missing_are_not_read_as_none():
    tensors = {name: value for name, value in tensors_of("timm SqueezeExcite").items() if "bias" not in name}
    assert BLOCK_LAYOUTS["timm SqueezeExcite"].read(tensors, {}).options["bias"]
    tensors = tensors_of("timm SEModule no bias")
    assert not BLOCK_LAYOUTS["timm SEModule"].read(tensors, {}).options["bias"]
