"""A run from its configuration to its results; stopped anywhere, it goes on to the same bits."""

import dataclasses
import json

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.training.run import TrainingStopped
from tests.training.toy import ToyTask, toy_config, train


def final(run):
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"], checkpoint["history"]


def assert_same(run, expected):
    (state, history), (wanted, wanted_history) = final(run), final(expected)
    assert history == wanted_history
    assert state.keys() == wanted.keys()
    for name, value in state.items():
        assert torch.equal(value, wanted[name]), name


def stop_at(monkeypatch, step):
    """The process breaks off before this step, counted from its own start."""
    original, count = ToyTask.losses, [0]

    def losses(self, batch):
        if count[0] == step:
            raise OSError("power cut")
        count[0] += 1
        return original(self, batch)

    monkeypatch.setattr(ToyTask, "losses", losses)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Runs without interruption, one for each set of options."""
    runs = {}

    def run(**options):
        key = str(options)
        if key not in runs:
            runs[key] = train(toy_config(tmp_path_factory.mktemp("whole"), **options, save_minutes=60))
        return runs[key]

    return run


def test_from_configuration_to_results(tmp_path, capsys):
    run = train(toy_config(tmp_path, loggers=("csv", "tensorboard")))
    assert run == tmp_path / "runs" / "001"
    results = json.loads((run / "results.json").read_text())
    assert results["score"] == "val_top1"
    assert len(results["history"]) == 3
    assert results["history"][0].keys() == {"epoch", "train_loss", "val_top1"}
    assert results["samples_per_second"] > 0
    assert results["added_parameters"] == 8 + 1 + 8 * 4 + 4 + 4 * 2 + 4 * 8 + 8
    assert (run / "curves.png").stat().st_size > 5_000
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    out = capsys.readouterr().out
    assert "learning rate 0.01 (blocks 0.02), 4 samples per step" in out
    assert out.rstrip().endswith(f"everything is in {run}")


@pytest.mark.parametrize("step", [0, 1, 5, 6, 7, 16, 17])
@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"accumulate": 2}], ids=["plain", "ema", "accumulate"])
def test_going_on_gives_the_same_bits(tmp_path, monkeypatch, uninterrupted, step, options):
    expected = uninterrupted(**options)
    config = toy_config(tmp_path, **options, save_minutes=0)
    with monkeypatch.context() as patched:
        stop_at(patched, step)
        with pytest.raises(TrainingStopped, match="power cut; "):
            train(config, tmp_path / "run")
    assert_same(train(config, tmp_path / "run"), expected)


def test_stopped_many_times(tmp_path, monkeypatch, uninterrupted):
    expected = uninterrupted()
    config = toy_config(tmp_path, save_minutes=0)
    for _ in range(5):
        with monkeypatch.context() as patched:
            stop_at(patched, 3)
            with pytest.raises(TrainingStopped):
                train(config, tmp_path / "run")
    assert_same(train(config, tmp_path / "run"), expected)


def test_workers_load_the_same(tmp_path):
    alone = train(toy_config(tmp_path, epochs=2))
    assert_same(train(toy_config(tmp_path, epochs=2, workers=2)), alone)


def test_a_longer_run_goes_on(tmp_path):
    run = train(toy_config(tmp_path, epochs=1))
    with pytest.raises(ValueError, match="has finished 1; ask for more"):
        train(toy_config(tmp_path, epochs=1), run)
    train(toy_config(tmp_path, epochs=2), run)
    assert len(final(run)[1]) == 2


def test_results_lost_before_they_were_written(tmp_path):
    run = train(toy_config(tmp_path))
    expected = json.loads((run / "results.json").read_text())
    (run / "results.json").unlink()
    train(toy_config(tmp_path), run)
    assert json.loads((run / "results.json").read_text())["history"] == expected["history"]


def test_going_on_says_where_and_leaves_no_partial_files(tmp_path, capsys):
    run = train(toy_config(tmp_path, epochs=1))
    partial = run / "checkpoints" / ".last.abc.ckpt"
    partial.touch()
    train(toy_config(tmp_path, epochs=2), run)
    assert "goes on after 1 of 2 epochs" in capsys.readouterr().out
    assert not partial.exists()


def test_results_without_a_checkpoint_are_not_overwritten(tmp_path):
    run = train(toy_config(tmp_path, epochs=1))
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(ValueError, match=r"has results but no checkpoints/last\.ckpt"):
        train(toy_config(tmp_path, epochs=2), run)


def test_not_a_number_stops_with_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingStopped, match=r"loss is not finite at step \d+ \(class nan\); the last checkpoint is"):
        train(toy_config(tmp_path, nan_at=9, samples=27, save_minutes=0, batch_size=2), tmp_path / "run")
    state, _ = final(tmp_path / "run")
    assert all(value.isfinite().all() for value in state.values())


def test_too_little_data_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="batch_size=32 is more than the 24 training samples"):
        train(toy_config(tmp_path, batch_size=32))
    assert not (tmp_path / "runs").exists()


def test_broken_samples(tmp_path, capsys):
    config = toy_config(tmp_path, broken=(3, 11))
    with pytest.raises(TrainingStopped, match=r"\d+.png: cannot be decoded; "):
        train(config)
    run = train(dataclasses.replace(config, on_broken="skip"))
    results = json.loads((run / "results.json").read_text())
    assert sorted(results["broken_samples"]) == ["11.png: cannot be decoded", "3.png: cannot be decoded"]
    assert "2 samples could not be read and were left out" in capsys.readouterr().out


def test_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    config = toy_config(tmp_path, epochs=1)
    run = train(config)
    before = (run / "checkpoints" / "last.ckpt").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingStopped, match=r"No space left on device; the last checkpoint is .*last.ckpt"):
        train(dataclasses.replace(config, epochs=2), run)
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_torch_calls_a_full_disk_a_runtime_error(tmp_path, monkeypatch):
    def save(checkpoint, path):
        raise RuntimeError("unexpected pos 64 vs 0")

    monkeypatch.setattr("gcnet.training.checkpointing.torch.save", save)
    with pytest.raises(TrainingStopped, match=r"ckpt: cannot be written, with \d+ MB free"):
        train(toy_config(tmp_path))


def test_synchronised_norms_need_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="norm='sync': batch norms over all processes train on GPUs only"):
        train(toy_config(tmp_path, norm="sync"))
