"""Our own blocks are read off their tensors, in every form."""

import pytest
import torch

import gcnet
from gcnet import BAM, CBAM, SCSE, GlobalContext, NonLocal, SelectiveKernel, SimplifiedNonLocal, SqueezeExcite
from gcnet.checkpoints.convert import to_ours
from gcnet.layouts.detect import find_blocks
from gcnet.models.classifiers import resnet

BLOCKS = {
    "gc": (GlobalContext, {"ratio": 1 / 4}),
    "gc average both": (GlobalContext, {"ratio": 1 / 4, "pooling": "average", "fusion": ("add", "scale")}),
    "gc without norm": (GlobalContext, {"ratio": 1 / 4, "norm": False}),
    "gc scale without norm": (GlobalContext, {"ratio": 1 / 4, "norm": False, "fusion": ("scale",)}),
    "gc projection": (GlobalContext, {"ratio": None}),
    "gc projection scale": (GlobalContext, {"ratio": None, "fusion": ("scale",)}),
    "snl": (SimplifiedNonLocal, {}),
    "nl": (NonLocal, {"norm": True}),
    "nl gaussian": (NonLocal, {"pairwise": "gaussian"}),
    "nl concatenation": (NonLocal, {"pairwise": "concatenation"}),
    "se": (SqueezeExcite, {"bias": False}),
    "scse": (SCSE, {}),
    **{
        f"{block.__name__} {form} {dims}d": (block, {"form": form, "dims": dims})
        for block in (CBAM, BAM, SelectiveKernel)
        for form in ("paper", "code")
        for dims in (2, 3)
    },
}


@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_a_block_alone(name):
    kind, options = BLOCKS[name]
    block = kind(32, **options).double().eval()
    for value in block.parameters():
        value.normal_()
    conversion = to_ours(block.state_dict())
    assert conversion.complete, str(conversion)
    again = conversion.architecture.build().double().eval()
    again.load_state_dict(conversion.tensors)
    assert isinstance(again, kind)
    x = torch.randn(2, 32, *(5, 6, 7)[: options.get("dims", 2)], dtype=torch.float64)
    assert torch.equal(again(x), block(x))


@pytest.mark.parametrize("name", [name for name in BLOCKS if "SelectiveKernel" not in name and "3d" not in name])
@torch.no_grad()
def test_inside_a_network(name):
    kind, options = BLOCKS[name]
    options = {option: value for option, value in options.items() if option != "dims"}
    model = resnet((1, 1, 1, 1), num_classes=0).eval()
    gcnet.insert(model, kind.spec(init="published", **options), stages="c5", position="after_1x1")
    for value in model.parameters():
        value.copy_(torch.randn(value.shape) * 0.05)
    conversion = to_ours(model.state_dict())
    assert conversion.complete, str(conversion)
    again = conversion.architecture.build().eval()
    again.load_state_dict(conversion.tensors)
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize(
    ("block", "options"),
    [
        (GlobalContext(32, 1 / 4, relu=False), {"relu": False}),
        (GlobalContext(32, 1 / 4, fusion="scale", init="identity"), {"gate": "centred"}),
        (SCSE(32, form="code"), {"form": "code"}),
        (BAM(32, dilation=2), {"dilation": 2}),
        (NonLocal(32, scale="inverse_sqrt", subsample="after"), {"scale": "inverse_sqrt", "subsample": "after"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_tensors_do_not_tell_is_an_option(block, options):
    name = f"gcnet {type(block).__name__}"
    assumed = to_ours(block.state_dict(), layout=name).assumed
    assert {f"{option} ({name})" for option in options} <= assumed.keys()
    spec = to_ours(block.state_dict(), layout=name, options=options).architecture.replaced[0].spec
    again = spec.build(32)
    assert str(again) == str(block)


def test_options_against_the_tensors_are_errors():
    state = GlobalContext(32, 1 / 4, norm=False).state_dict()
    with pytest.raises(ValueError, match=r"norm=True was given, but this gcnet GlobalContext has norm=False"):
        to_ours(state, options={"norm": True})
    with pytest.raises(ValueError, match=r"form='cod' is not one of 'paper', 'code'; did you mean 'code'"):
        to_ours(SCSE(32).state_dict(), options={"form": "cod"})


def test_a_multiplication_without_key_and_norm_is_squeeze_and_excitation():
    block = GlobalContext(32, 1 / 4, pooling="average", fusion="scale", norm=False)
    ((_, layouts),) = find_blocks(block.state_dict())
    assert [layout.name for layout in layouts] == ["gcnet SqueezeExcite"]
