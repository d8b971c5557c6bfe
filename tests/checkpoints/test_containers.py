"""Weights are found wherever they are kept, and what was decided is said."""

import pytest
import torch

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.reader import read

ONE, TWO = torch.ones(1), torch.full((1,), 2.0)


def test_nested_containers():
    contents = read({"checkpoint": {"model": {"fc.weight": ONE}}, "iteration": 3})
    assert list(contents.tensors) == ["fc.weight"]
    assert contents.metadata == {"iteration": 3, "checkpoint": {}}
    assert contents.notes == ("weights read from checkpoint.model",)


def test_plain_weights_come_before_averages_unless_chosen():
    content = {"ema": {"module": {"w": TWO}, "updates": 3}, "state_dict": {"w": ONE}, "state_dict_ema": {"w": TWO}}
    contents = read(content)
    assert contents.tensors["w"] == 1
    assert "state_dict_ema" in contents.notes[0]
    assert read(content, container="ema").tensors["w"] == 2
    assert read(content, container="ema.module").tensors["w"] == 2
    with pytest.raises(CheckpointError, match=r"container='emma': no weights there.*state_dict.*Did you mean"):
        read(content, container="emma")


def test_several_sets_without_a_well_known_name_are_listed():
    with pytest.raises(CheckpointError, match=r"choose with container= .* one of teacher, student"):
        read({"teacher": {"w": ONE}, "student": {"w": TWO}})


def test_optimizers_are_dropped_and_said():
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    contents = read({"model": model.state_dict(), "optim": optimizer.state_dict(), "rng": torch.get_rng_state()})
    assert set(contents.tensors) == {"weight", "bias"}
    assert contents.notes == ("weights read from model", "optimizer state dropped: optim")
    assert contents.metadata == {"rng": "<tensor>"}


def test_plain_values_among_weights():
    contents = read({"w": ONE, "b": ONE, "epoch": 3})
    assert list(contents.tensors) == ["w", "b"]
    assert contents.metadata == {"epoch": 3}
    contents = read({"state_dict": {"w": ONE, "b": ONE, "epoch": 3}})
    assert list(contents.tensors) == ["w", "b"]
    assert "not tensors, left out: epoch" in contents.notes


@pytest.mark.parametrize("content", [{}, {"epoch": 1}, {"state_dict": {}}])
def test_no_tensors(content):
    with pytest.raises(CheckpointError, match="no tensors found"):
        read(content)


@pytest.mark.parametrize("nested", [False, True])
def test_arrays_in_place_of_tensors(nested, tmp_path):
    arrays = {"conv1.weight": ONE.numpy(), "bn1.weight": TWO.numpy()}
    content = {"state_dict": arrays} if nested else arrays
    torch.save(content, tmp_path / "model.pth")
    for source in (content, tmp_path / "model.pth"):
        with pytest.raises(CheckpointError, match=r"holds NumPy arrays.*torch\.from_numpy"):
            read(source)


@pytest.mark.parametrize("content", [[ONE], ONE, 3, (1, 2)])
def test_other_objects(content, tmp_path):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="not a dictionary of tensors"):
        read(tmp_path / "model.pth")


def test_shared_and_circular_references_end():
    laughs = {"lol": 1}
    for _ in range(60):
        laughs = {"a": laughs, "b": laughs}
    for meta in (laughs, [[laughs] * 10] * 10):
        with pytest.raises(CheckpointError, match=r"nested more|holds more"):
            read({"state_dict": {"w": ONE}, "meta": meta})
    circle = {"state_dict": {"w": ONE}}
    circle["self"] = [circle]
    with pytest.raises(CheckpointError, match=r"nested more|holds more"):
        read(circle)
