"""Training a classifier from a folder to results, going on where it stopped, and clear errors before it starts."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

from gcnet.recipes.classification import classification
from gcnet.training.classification.run_old import ClassificationConfig, build_network, run_classification
from gcnet.training.classification.task import ClassificationTask


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes that colour tells apart."""
    root = tmp_path_factory.mktemp("data")
    generator = torch.Generator().manual_seed(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (root / name).mkdir()
        for index in range(12):
            pixels = torch.randint(0, 90, (24, 24, 3), generator=generator, dtype=torch.uint8)
            pixels[..., channel] += 140
            Image.fromarray(pixels.numpy()).save(root / name / f"{index}.png")
    return root


@pytest.fixture
def config(data, tmp_path):
    return dataclasses.replace(
        classification(data),
        backbone="timm:test_resnet",
        ratio=1 / 4,
        epochs=2,
        batch_size=4,
        image_size=32,
        workers=0,
        stages=("c5",),
        out=tmp_path / "runs",
    )


def test_from_folder_to_results(config, capsys):
    run = run_classification(config)
    assert run == config.out / "001"
    results = json.loads((run / "results.json").read_text())
    assert results["top1"] > 0.7
    assert results["top5"] is None
    assert results["per_class"].keys() == {"blue", "red"}
    assert len(results["history"]) == 2
    assert results["history"][1].keys() == {"epoch", "train_loss", "val_loss", "val_top1"}
    assert results["added_parameters"] == 4_873
    assert (run / "curves.png").stat().st_size > 5_000
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert list((run / "logs" / "tensorboard").glob("events*"))
    assert "val_top1" in (run / "logs" / "csv" / "version_0" / "metrics.csv").read_text()
    assert ClassificationConfig.load(run) == config
    out = capsys.readouterr().out
    assert "layer4.0.context_block" in out
    assert out.rstrip().splitlines()[-1].startswith(f"top-1 {results['top1']:.1%}")
    assert out.rstrip().endswith(f"everything is in {run}")


def test_resume_goes_on(config):
    whole = run_classification(dataclasses.replace(config, out=config.out / "whole"))
    expected = json.loads((whole / "results.json").read_text())["history"]

    run = run_classification(dataclasses.replace(config, epochs=1))
    first = json.loads((run / "results.json").read_text())["history"]
    assert run_classification(config, resume=run) == run
    history = json.loads((run / "results.json").read_text())["history"]
    assert [epoch["epoch"] for epoch in history] == [epoch["epoch"] for epoch in expected] == [1, 2]
    assert history[0] == first[0]
    assert (run / "logs" / "csv" / "version_1").is_dir()
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 10
    assert last["history"] == history


def test_finished_run_is_not_trained_again(config):
    run = run_classification(dataclasses.replace(config, epochs=1))
    with pytest.raises(ValueError, match=r"epochs=1: .* has finished 1; ask for more"):
        run_classification(dataclasses.replace(config, epochs=1), resume=run)


def test_more_than_five_classes_have_top5(tmp_path):
    for index in range(6):
        (tmp_path / "data" / str(index)).mkdir(parents=True)
        for copy in range(2):
            Image.new("RGB", (16, 16), (index * 40, 0, 0)).save(tmp_path / "data" / str(index) / f"{copy}.png")
    config = classification(tmp_path / "data")
    config = dataclasses.replace(
        config,
        backbone="timm:test_resnet",
        block="none",
        epochs=1,
        batch_size=6,
        image_size=32,
        workers=0,
        out=tmp_path / "runs",
    )
    results = json.loads((run_classification(config) / "results.json").read_text())
    assert 0 <= results["top1"] <= results["top5"] <= 1
    assert results["added_parameters"] == 0


def test_match_inserts_anywhere(config, capsys):
    config = dataclasses.replace(config, backbone="timm:test_convnext", block="se", match=("stages.*",), epochs=1)
    run_classification(config)
    assert "stages.3.context_block" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "gcb"}, "did you mean 'gc'"),
        ({"backbone": "resnet19"}, "did you mean"),
        ({"batch_size": 100}, "batch_size=100 is more than the 20 training images"),
        ({"epochs": 0}, "epochs=0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"val_fraction": 1.0}, "val_fraction=1.0"),
        ({"warmup": 1.5}, "warmup=1.5"),
        ({"workers": -1}, "workers=-1"),
        ({"precision": "fp8"}, "precision='fp8'"),
        ({"stages": ("c6",)}, "c6"),
        ({"position": "after_2x2"}, "after_2x2"),
        ({"block": "snl", "ratio": 1 / 4}, "no hidden layer"),
    ],
)
def test_mistakes_are_found_before_training(config, options, message):
    with pytest.raises(ValueError, match=message):
        run_classification(dataclasses.replace(config, **options))
    assert not config.out.exists(), "a run folder was made for a run that cannot start"


def test_corrupt_image_is_found_before_training(config, data, tmp_path):
    for path in data.rglob("*.png"):
        target = tmp_path / "copy" / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes() if path.name != "3.png" or path.parent.name == "red" else b"junk")
    with pytest.raises(ValueError, match=r"blue.3\.png: cannot be read as an image"):
        run_classification(dataclasses.replace(config, data=tmp_path / "copy"))
    assert not config.out.exists()


def test_resume_needs_a_checkpoint_and_the_same_network(config, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such run"):
        run_classification(config, resume=tmp_path / "nowhere")
    run = run_classification(dataclasses.replace(config, epochs=1))
    with pytest.raises(ValueError, match=r"block='se' differs from 'gc'"):
        run_classification(dataclasses.replace(config, block="se"), resume=run)
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(FileNotFoundError, match="no checkpoint to continue from"):
        run_classification(config, resume=run)


def test_added_blocks_have_their_own_rate_and_norms_no_decay(config):
    from gcnet.training.classification.run_old import build_network

    task = ClassificationTask(build_network(config, 2), ("a", "b"), lr=0.1, added_lr=0.5, weight_decay=0.05)

    class Steps:
        estimated_stepping_batches = 10

    task._trainer = Steps()
    groups = task.configure_optimizers()["optimizer"].param_groups
    assert {(group["name"], group["initial_lr"], group["weight_decay"]) for group in groups} == {
        ("host", 0.1, 0.05),
        ("host, no decay", 0.1, 0.0),
        ("added", 0.5, 0.05),
        ("added, no decay", 0.5, 0.0),
    }


@pytest.fixture
def one_epoch(config):
    config = dataclasses.replace(config, epochs=1)
    return config, run_classification(config)


def test_a_refused_resume_changes_nothing(one_epoch, tmp_path):
    config, run = one_epoch
    before = (run / "config.json").read_text()
    for name in ("green", "red"):
        (tmp_path / "other" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / "other" / name / f"{index}.png")
    with pytest.raises(ValueError, match=r"classes are green, red; .* was trained on blue, red"):
        run_classification(dataclasses.replace(config, epochs=2, data=tmp_path / "other"), run)
    assert (run / "config.json").read_text() == before


def test_a_moved_run_keeps_its_best_epoch(one_epoch):
    config, run = one_epoch
    moved = run.rename(run.with_name("moved"))
    checkpoints = moved / "checkpoints"
    for path in checkpoints.iterdir():
        content = torch.load(path, weights_only=True)
        (state,) = (value for key, value in content["callbacks"].items() if key.startswith("RunCheckpoint"))
        state["best_model_score"] = torch.tensor(2.0)
        state["best_k_models"] = {name: torch.tensor(2.0) for name in state["best_k_models"]}
        state["kth_value"] = torch.tensor(2.0)
        torch.save(content, path)
    best = (checkpoints / "best.ckpt").read_bytes()
    run_classification(dataclasses.replace(config, epochs=2), moved)
    assert (checkpoints / "best.ckpt").read_bytes() == best


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut"])
def test_damaged_runs_are_named(one_epoch, content):
    config, run = one_epoch
    (run / "checkpoints" / "last.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"last.ckpt is damaged .*best.ckpt"):
        run_classification(dataclasses.replace(config, epochs=2), run)
    (run / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config.json is damaged"):
        ClassificationConfig.load(run)


def test_best_weights_of_a_run_with_blocks_are_weights(one_epoch):
    config, run = one_epoch
    best = str(run / "checkpoints" / "best.ckpt")
    net = build_network(dataclasses.replace(config, weights=best), 2)
    state = torch.load(best, weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[f"net.{name}"]) for name, value in net.state_dict().items())


def test_a_loss_that_is_not_finite_stops_the_run(config):
    with pytest.raises(ValueError, match=r"lr=1e\+30: the loss is .* lower it"):
        run_classification(dataclasses.replace(config, lr=1e30, warmup=0.0, epochs=3))


def test_sizes_the_network_does_not_take(config):
    config = dataclasses.replace(config, backbone="timm:vit_tiny_patch16_224", block="none")
    with pytest.raises(ValueError, match="image_size=32: VisionTransformer does not run"):
        run_classification(config)
    assert not config.out.exists()


def test_out_that_cannot_be_written(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"out=.*file.runs: cannot be written"):
        run_classification(dataclasses.replace(config, out=tmp_path / "file" / "runs"))
