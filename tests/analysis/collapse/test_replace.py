"""Which blocks are collapsed, what stays as it was, and that it can be taken back."""

import copy

import pytest
import torch
from torch import nn

import gcnet
from gcnet.analysis.collapse import QueryDependentError, collapse


def images(count=6, channels=3, size=9):
    return torch.randn(count, channels, size, size)


def make_independent(block):
    """Random weights, and a query that does not see the features."""
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    if block.query is not None:
        nn.init.zeros_(block.query.weight)
    return block


def free_standing(**options):
    return nn.Sequential(nn.Conv2d(3, 16, 3), make_independent(gcnet.NonLocal(16, **options)), nn.ReLU()).eval()


def inserted(**options):
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Sequential(nn.ReLU()), nn.Conv2d(16, 16, 1))
    gcnet.insert(model, gcnet.NonLocal.spec(**options), match=["0", "1"])
    for block in gcnet.status(model):
        make_independent(model.get_submodule(block.path))
    return model.eval()


class Clusters(nn.Module):
    """Features of two kinds far apart, so that gaussian attention stays within a kind."""

    def __init__(self):
        super().__init__()
        self.block = gcnet.NonLocal(4, pairwise="gaussian")
        nn.init.eye_(self.block.value.weight[:, :2])
        nn.init.normal_(self.block.out.weight)

    def forward(self, x):
        kinds = torch.tensor([[5.0, 0, 0, 0], [0, 5.0, 0, 0]])[(x[:, 0] > 0).long()]
        return self.block(kinds.permute(0, 3, 1, 2) + 0.1 * x)


def test_a_block_that_does_not_attend_stays():
    dead = free_standing(pairwise="concatenation")
    nn.init.constant_(dead[1].query.bias, -100.0)
    nn.init.constant_(dead[1].concat.weight, 1.0)
    with pytest.raises(ValueError, match="1: its map is zero on all images"):
        collapse(dead, [images()])
    fresh = nn.Sequential(nn.Conv2d(3, 16, 3), gcnet.NonLocal(16)).eval()
    with pytest.raises(ValueError, match="1: its output is zero on all images, as at its start"):
        collapse(fresh, [images()])
    x = images()
    expected = dead(x)
    assert "forced, whatever the data say: 1" in str(collapse(dead, [x], force=True))
    assert torch.allclose(dead(x), expected, atol=1e-5)


@pytest.mark.parametrize("make", [free_standing, inserted])
def test_outputs_stay_where_attention_has_no_query(make):
    model, x = make(), images()
    expected = model(x)
    report = collapse(model, [x[:4], x[4:]], to="snl")
    assert torch.allclose(model(x), expected, atol=1e-5)
    assert all(block.attention.high < 1e-6 and block.error < 1e-5 for block in report)
    assert report.images == 6


def test_undo_gives_back_the_objects_and_the_bits():
    model, x = inserted(), images()
    blocks, expected, before = list(model.modules()), model(x), gcnet.status(model)
    report = collapse(model, [x])
    assert {block.block for block in gcnet.status(model)} == {"GlobalContext"}
    assert not any(isinstance(module, gcnet.NonLocal) for module in model.modules())
    report.undo()
    assert gcnet.status(model) == before
    assert all(old is new for old, new in zip(blocks, model.modules(), strict=True))
    assert torch.equal(model(x), expected)
    with pytest.raises(RuntimeError, match="undone already"):
        report.undo()


def test_undo_refuses_what_was_changed_since():
    model, x = free_standing(), images()
    report = collapse(model, [x])
    model[1] = nn.Identity()
    with pytest.raises(RuntimeError, match="1 is no longer the block"):
        report.undo()


def test_attention_that_depends_on_the_query_is_refused_with_numbers():
    model, x = Clusters(), torch.randn(5, 4, 6, 6)
    block = model.block
    with pytest.raises(QueryDependentError, match=r"block: cosine distance 0\.\d+ .* above threshold=0.1") as refusal:
        collapse(model, [x])
    assert "force" in str(refusal.value)
    assert model.block is block
    report = collapse(model, [x], force=True, to="snl")
    assert report.collapsed[0].forced
    assert "forced" in str(report)
    assert report.collapsed[0].attention.mean > 0.2


def test_only_blocks_that_pass_are_collapsed_and_the_rest_is_named():
    model = nn.Sequential(Clusters(), make_independent(gcnet.NonLocal(4)))
    report = collapse(model, [torch.randn(5, 4, 6, 6)], to="snl")
    assert [block.path for block in report] == ["1"]
    assert [block.path for block in report.left] == ["0.block"]
    assert "left: 0.block: cosine distance" in str(report)
    assert isinstance(model[0].block, gcnet.NonLocal)


def test_output_that_varies_is_refused_whatever_the_attention():
    model, x = free_standing(), images()
    nn.init.normal_(model[1].query.weight, std=1e-2)
    with pytest.raises(QueryDependentError, match=r"1: share 0.* of its output that varies is above tolerance=1e-06"):
        collapse(model, [x], tolerance=1e-6, threshold=0.49)


def test_the_reported_variation_is_the_definition():
    model, x = Clusters(), torch.randn(3, 4, 5, 5)
    seen = {}
    model.block.register_forward_hook(lambda block, inputs, output: seen.update(y=(output - inputs[0]).flatten(2)))
    with torch.no_grad():
        model(x)
    model.block._forward_hooks.clear()
    y = seen["y"].double()
    expected = torch.stack([(image - image.mean(1, keepdim=True)).norm() / image.norm() for image in y]).mean()
    block = collapse(model, [x], force=True, to="snl").collapsed[0]
    assert block.variation.mean == pytest.approx(float(expected), rel=1e-5)


def test_the_reported_error_is_that_of_the_new_block():
    model, x = Clusters(), torch.randn(3, 4, 5, 5)
    original = copy.deepcopy(model)
    report = collapse(model, [x[:2], x[2:]], force=True, to="gc", ratio=0.5)
    features = {}
    model.block.register_forward_hook(lambda block, inputs, output: features.update(x=inputs[0]))
    with torch.no_grad():
        difference = (model(x) - original(x)).norm()
        energy = (original(x) - features["x"]).norm()
    assert report.collapsed[0].error == pytest.approx(float(difference / energy), rel=1e-4)
    assert report.collapsed[0].error >= report.collapsed[0].variation.mean * 0.5


@pytest.mark.parametrize("pairwise", ["gaussian", "embedded_gaussian", "dot_product", "concatenation"])
@pytest.mark.parametrize("subsample", [None, "before", "after"])
def test_every_form_can_be_collapsed(pairwise, subsample):
    model = free_standing(pairwise=pairwise, subsample=subsample)
    report = collapse(model, [images()], force=True, distill=20)
    assert report.collapsed[0].error <= report.collapsed[0].merged
    assert model(images()).isfinite().all()


@pytest.mark.parametrize("pairwise", ["dot_product", "concatenation"])
def test_maps_without_a_softmax_are_fitted(pairwise):
    model = free_standing(pairwise=pairwise)
    model[1].key.weight.data.mul_(0.05)
    model[1].key.bias.data.fill_(1.0)
    model[1].query.bias.data.fill_(1.0)
    if pairwise == "concatenation":
        model[1].concat.weight.data.abs_()
    report = collapse(model, [images(20)], to="snl")
    assert report.collapsed[0].merged < 0.05


def test_distillation_lowers_the_error_and_repeats():
    x = images(20)
    errors = []
    for _ in range(2):
        torch.manual_seed(1)
        model = free_standing(subsample="before")
        block = collapse(model, x.split(4), to="snl", force=True, distill=200, seed=3).collapsed[0]
        assert block.error < 0.9 * block.merged
        errors.append(block.error)
    assert errors[0] == errors[1]


def test_device_dtype_mode_flags_and_state_stay():
    model = inserted()
    model.train()
    model.half()
    for parameter in model.get_submodule("0.context_block").parameters():
        parameter.requires_grad_(False)
    collapse(model.float(), [images()])
    first, second = (model.get_submodule(f"{path}.context_block") for path in "01")
    assert first.training
    assert second.training
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert all(parameter.requires_grad for parameter in second.parameters())
    double = inserted().double()
    collapse(double, [images().double()])
    assert {parameter.dtype for parameter in double.parameters()} == {torch.float64}


def test_a_shared_block_stays_shared():
    block = make_independent(gcnet.NonLocal(8))
    model = nn.Sequential(nn.Conv2d(3, 8, 1), block, nn.ReLU(), block).eval()
    x = images()
    expected = model(x)
    report = collapse(model, [x], to="snl")
    assert model[1] is model[3] is not block
    assert torch.allclose(model(x), expected, atol=1e-4)
    report.undo()
    assert model[1] is model[3] is block


def test_kept_chooses_the_width():
    model, x = free_standing(), images(40)
    widths = []
    for kept in (0.5, 0.9, 1.0):
        report = collapse(model, [x], kept=kept)
        widths.append(model[1].hidden)
        report.undo()
    assert widths == sorted(widths)
    assert widths[0] < 8
    assert report.collapsed[0].error < 0.01


def test_saved_and_loaded(tmp_path):
    model = gcnet.models.classifiers.resnet((1, 1, 1, 1), num_classes=3).eval()
    gcnet.insert(model, gcnet.NonLocal.spec(), stages="c4")
    make_independent(model.layer3[0].context_block)
    x = images(2, size=64)
    collapse(model, [x])
    loaded = gcnet.load(gcnet.save(model, tmp_path / "model.safetensors"))
    assert isinstance(loaded.layer3[0].context_block, gcnet.GlobalContext)
    assert torch.equal(loaded(x), model(x))


def test_other_blocks_are_left_alone_and_nothing_to_collapse_says_so():
    model = nn.Sequential(gcnet.SimplifiedNonLocal(4), gcnet.GlobalContext(32, ratio=1 / 4))
    with pytest.raises(ValueError, match="no non-local block, its blocks are GlobalContext, SimplifiedNonLocal"):
        collapse(model, [torch.randn(1, 4, 4, 4)])
    with pytest.raises(ValueError, match="it has no blocks of gcnet"):
        collapse(nn.Linear(3, 3), [torch.randn(1, 3)])


def test_match_and_blocks_that_do_not_run():
    model, x = inserted(), images()
    with pytest.raises(ValueError, match=r"match='layer3' matches none of the non-local blocks: 0.context_block, 1"):
        collapse(model, [x], match="layer3")
    assert [block.path for block in collapse(model, [x], match="1.*")] == ["1.context_block"]
    gcnet.disable(model)
    with pytest.raises(ValueError, match=r"nothing to collapse: 0\.context_block: it"):
        collapse(model, [x])
    with pytest.raises(ValueError, match="it does not run on this data"):
        collapse(free_standing(), [], force=True)


def test_hooks_and_forwards_that_would_be_lost():
    model = free_standing()
    model[1].register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="hooks"):
        collapse(model, [images()])
    with pytest.raises(ValueError, match="the model itself"):
        collapse(gcnet.NonLocal(3), [images()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "sne"}, "did you mean 'snl'"),
        ({"to": "snl", "ratio": 0.5}, "go with to='gc'"),
        ({"ratio": 0.5, "kept": 0.5}, "give one of them"),
        ({"kept": 1.5}, "kept=1.5"),
        ({"ratio": 5.0}, "ratio=5.0 must lie between 0 and 1"),
        ({"ratio": 0.0}, "ratio=0.0 must lie between 0 and 1"),
        ({"threshold": 0}, "threshold=0"),
        ({"tolerance": float("nan")}, "tolerance=nan"),
        ({"distill": -1}, "distill=-1"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        collapse(free_standing(), [images()], **options)


def test_compiled_models_are_refused():
    with pytest.raises(RuntimeError, match="cannot collapse blocks"):
        collapse(torch.compile(free_standing()), [images()])
