"""Every number is held to brute force over all pairs of positions, out of the block's own map and output."""

import json
import math

import pytest
import torch
from torch import nn

from gcnet import GlobalContext, NonLocal, SimplifiedNonLocal
from gcnet.analysis.audit import Audit, BlockAudit, Interval, audit
from gcnet.analysis.spread import attention_spread
from gcnet.ops.affinity import PAIRWISE
from tests.analysis.pairs import pairs_cosine, pairs_divergence


def perturbed(model):
    """The same with every weight away from its start."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tokens(x):
    return x.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("pairwise", PAIRWISE)
@pytest.mark.parametrize("subsample", [None, "after"])
def test_a_non_local_block_is_measured_as_all_pairs_say(pairwise, subsample):
    block = perturbed(NonLocal(6, pairwise=pairwise, subsample=subsample, norm=True))
    batches = [torch.randn(3, 6, 4, 5), torch.randn(2, 6, 3, 3)]
    (found,) = audit(block, batches).blocks
    expected = {"input": [], "output": [], "attention": [], "divergence": [], "spread": []}
    with torch.no_grad():
        for x in batches:
            expected["input"].append(pairs_cosine(tokens(x)))
            expected["output"].append(pairs_cosine(tokens(block(x) - x)))
            expected["attention"].append(pairs_cosine(block.attention_map(x)))
            if "gaussian" in pairwise:
                expected["divergence"].append(pairs_divergence(block.attention_map(x)))
                expected["spread"].append(attention_spread(block.attention_map(x)))
    assert (found.path, found.kind, found.pairwise, found.head) == ("", "non_local", pairwise, None)
    assert (found.positions, found.images) == ((9, 20), 5)
    for name, values in expected.items():
        interval = getattr(found, name)
        if not values:
            assert interval is None
            continue
        mean = torch.cat(values).mean().item()
        assert interval.mean == pytest.approx(mean, rel=1e-5)
        assert interval.low <= interval.mean <= interval.high
        assert interval.images == 5
    assert found.divergence_error == (0 if "gaussian" in pairwise else None)


def test_pairs_are_drawn_of_large_maps_and_the_error_is_stated():
    block, x = perturbed(NonLocal(6)), [torch.randn(2, 6, 12, 12)]
    drawn, every = (audit(block, x, pairs=pairs) for pairs in (200, None))
    error = drawn.blocks[0].divergence_error
    assert 0 < error < 0.2 * every.blocks[0].divergence.mean
    assert drawn.blocks[0].divergence.mean == pytest.approx(every.blocks[0].divergence.mean, abs=4 * error)
    assert every.blocks[0].divergence_error == 0
    assert (drawn.pairs, every.pairs) == (200, None)
    assert audit(block, x, pairs=200) == drawn
    assert audit(block, x, pairs=200, seed=1) != drawn
    assert "200 pairs drawn per image, a standard error of at most" in str(drawn)


def test_the_error_holds_though_images_of_a_batch_share_their_pairs():
    block, x = perturbed(NonLocal(6)), torch.randn(1, 6, 5, 5).expand(6, -1, -1, -1)
    found = [audit(block, x.split(3), pairs=40, resamples=1, seed=seed).blocks[0] for seed in range(150)]
    means = torch.tensor([block.divergence.mean for block in found])
    errors = torch.tensor([block.divergence_error for block in found])
    assert means.std().item() == pytest.approx(errors.square().mean().sqrt().item(), rel=0.2)


@pytest.mark.parametrize("block", [GlobalContext(8, 1 / 4), SimplifiedNonLocal(8)])
def test_one_map_for_all_positions_is_said_to_be_shared(block):
    x = torch.randn(3, 8, 4, 4)
    found = audit(perturbed(block), [x])
    assert found.blocks[0].shared
    assert found.blocks[0].input.mean == pytest.approx(pairs_cosine(tokens(x)).mean().item())
    assert found.blocks[0].output is found.blocks[0].attention is found.blocks[0].divergence is None
    assert str(found).count("shared") == 4
    assert "0 by construction" in str(found)


def test_the_output_of_a_fresh_block_is_zero_and_has_no_distance():
    found = audit(NonLocal(6), [torch.randn(3, 6, 4, 4)])
    assert found.blocks[0].output is None
    assert found.blocks[0].zeros == {"output": 1.0}
    assert "zero: nothing but zeros" in str(found)


def test_positions_of_zeros_are_left_out_and_reported():
    x = torch.randn(2, 6, 4, 4)
    x[0, :, 0] = 0
    x[1] = 0
    found = audit(GlobalContext(6, 1 / 2), [x])
    assert found.blocks[0].zeros == {"input": pytest.approx((4 / 16 + 1) / 2)}
    assert found.blocks[0].input == Interval(pytest.approx(pairs_cosine(tokens(x[:1, :, 1:])).item()), None, None, 1)
    assert "0.62 of the vectors of input are zero and left out" in str(found)
    assert " of 1 " in str(found)


def test_one_image_gives_no_interval():
    found = audit(perturbed(NonLocal(6)), [torch.randn(1, 6, 1, 1)])
    assert found.blocks[0].positions == (1, 1)
    for name in ("input", "output", "attention", "divergence"):
        assert getattr(found.blocks[0], name) == Interval(pytest.approx(0, abs=1e-12), None, None, 1)
    assert "One image: no intervals." in str(found)


def test_few_images_are_said_to_be_few():
    block, x = NonLocal(6), torch.randn(1, 6, 2, 2)
    assert "too narrow" in str(audit(block, [x] * 9))
    assert "too narrow" not in str(audit(block, [x] * 10))


def test_images_and_not_batches_are_averaged():
    block, x = perturbed(NonLocal(6)), torch.randn(6, 6, 3, 3)
    one, uneven, singly = (audit(block, x.split(size)).blocks[0] for size in (6, [4, 2], 1))
    for other in (uneven, singly):
        assert other.attention.mean == pytest.approx(one.attention.mean, rel=1e-6)
        assert other.output.high == pytest.approx(one.output.high, rel=1e-6)


def test_the_network_runs_in_eval_mode_and_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(6), nn.Sequential(NonLocal(6), nn.Dropout(0.5)), GlobalContext(6, 1 / 2))
    model[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    x = torch.randn(4, 6, 3, 3)
    assert audit(model, [x]) == audit(model, [x])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model._forward_hooks
    assert not model[2]._forward_hooks


def test_a_part_of_a_network_is_run_by_forward():
    model = nn.ModuleDict({"trunk": NonLocal(6), "head": GlobalContext(6, 1 / 2)})
    found = audit(model, [torch.randn(2, 6, 3, 3)], forward=model["trunk"])
    assert [block.path for block in found.blocks] == ["trunk"]


class Frames(nn.Module):
    """A block that sees every frame of a clip as an image of its own, twice."""

    def __init__(self):
        super().__init__()
        self.block = perturbed(NonLocal(6))

    def forward(self, x):
        frames = x.transpose(1, 2).flatten(0, 1)
        return self.block(self.block(frames)[..., :2])


def test_frames_of_an_image_are_averaged_and_calls_kept_apart():
    model, x = Frames(), torch.randn(2, 6, 5, 3, 3)
    first, second = audit(model, [x]).blocks
    assert (first.path, second.path) == ("block", "block (call 2)")
    assert (first.images, first.positions, second.positions) == (2, (9, 9), (6, 6))
    per_frame = pairs_cosine(tokens(x.transpose(1, 2).flatten(0, 1)))
    assert first.input.mean == pytest.approx(per_frame.mean().item())
    assert first.input.images == 2
    assert first.divergence_error == 0


def test_maps_that_are_not_of_single_images_are_refused():
    block = NonLocal(6)
    with pytest.raises(ValueError, match="made 3 maps of 2 images"):
        audit(block, [torch.randn(2, 6, 3, 3)], forward=lambda x: block(torch.cat([x, x[:1]])))


def test_no_images():
    for batches in ([], [torch.empty(0, 6, 3, 3)]):
        with pytest.raises(ValueError, match="batches holds no images"):
            audit(NonLocal(6), batches)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (torch.randn(2, 6, 3, 3), r"one tensor \[2, 6, 3, 3\]; give several"),
        ([(torch.randn(2, 6, 3, 3), torch.zeros(2))], "batches holds a tuple; give tensors"),
    ],
)
def test_batches_that_are_no_tensors(batches, message):
    with pytest.raises(TypeError, match=message):
        audit(NonLocal(6), batches)


def test_values_that_are_not_finite_name_the_block():
    x = torch.randn(1, 6, 3, 3)
    x[0, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match=r"^0: input has infinite values or NaN"):
        audit(nn.Sequential(NonLocal(6)), [x])


def test_half_precision():
    block, x = perturbed(NonLocal(6)), torch.randn(3, 6, 4, 4)
    exact, half = audit(block, [x]).blocks[0], audit(block.half(), [x.half()]).blocks[0]
    assert half.attention.mean == pytest.approx(exact.attention.mean, rel=0.02)
    assert half.divergence.mean == pytest.approx(exact.divergence.mean, rel=0.02)


def test_there_and_back_as_json(tmp_path):
    model = perturbed(nn.Sequential(NonLocal(6), NonLocal(6, pairwise="dot_product"), SimplifiedNonLocal(6)))
    found = audit(model, [torch.randn(3, 6, 4, 4)])
    (tmp_path / "audit.json").write_text(json.dumps(found.to_dict()))
    assert Audit.load(tmp_path / "audit.json") == found
    assert Audit.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"blocks": [{}], "notes": []}', '{"blocks": [], "images": 1, "x": 2}']
)
def test_a_file_that_holds_no_audit(content, tmp_path):
    (tmp_path / "audit.json").write_text(content)
    with pytest.raises(ValueError, match=r"audit\.json: holds no audit"):
        Audit.load(tmp_path / "audit.json")
    with pytest.raises(FileNotFoundError):
        Audit.load(tmp_path / "none.json")


def test_the_paper_is_beside_its_own_set_up_and_below_others():
    block = BlockAudit(
        "layer3.4.context_block", "non_local", "embedded_gaussian", None, (36, 36), 20, Interval(0.4, 0.3, 0.5, 20)
    )
    same, other = (str(Audit((block,), 20, setup=setup)) for setup in ("coco", None))
    lines = [line.split() for line in same.splitlines()]
    assert ["the", "paper's", "[M]", "0.402", "0.012", "0.020", "0.011"] in lines
    assert "quoted from memory; Mask R-CNN R50-FPN" in same
    assert "the paper's [M]" not in other
    assert "Of another network, Mask R-CNN R50-FPN" in other
    assert "input 0.402, output 0.012, attention 0.020, divergence 0.011 [M]" in other
    pooled = BlockAudit("x", "global_context", None, None, (36, 36), 20)
    assert "paper" not in str(Audit((pooled,), 20))
