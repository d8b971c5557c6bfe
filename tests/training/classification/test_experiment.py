"""Training a classifier from its data to results and predictions, and clear errors before it starts."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

import datasets

from gcnet.recipes.classification import classification
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.experiment import ClassificationExperiment
from gcnet.training.classification.task import ClassificationTask
from gcnet.training.evaluate import evaluate, predict
from gcnet.training.optimisation import optimizer_and_schedule
from gcnet.training.run import TrainingStopped, train
from gcnet.training.run_folder import load_config
from tests.training.classification.photos import picture, write_folder, write_hub, write_shards
from tests.training.test_run import assert_same


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"))


def configure(data, out, **options):
    base = {
        "backbone": "timm:test_resnet",
        "ratio": 1 / 4,
        "epochs": 2,
        "batch_size": 4,
        "image_size": 32,
        "workers": 0,
        "stages": ("c5",),
        "loggers": (),
        "out": out,
    }
    return dataclasses.replace(classification(data), **base | options)


@pytest.fixture
def config(data, tmp_path):
    return configure(data, tmp_path / "runs")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    return train(configure(data, tmp_path_factory.mktemp("runs"), epochs=3))


def results_of(run):
    return json.loads((run / "results.json").read_text())


def test_from_folder_to_results(trained, data):
    results = results_of(trained)
    assert results["best"] > 0.7
    assert results["scores"].keys() == {"train_loss", "val_loss", "val_top1"}
    assert results["per_class"].keys() == {"blue", "red"}
    assert results["scores"]["val_top1"] == pytest.approx(sum(results["per_class"].values()) / 2)
    assert len(results["history"]) == 3
    assert results["added_parameters"] == 4_873
    assert (trained / "confusion.png").stat().st_size > 5_000
    assert (trained / "classes.csv").read_text().startswith("class,images,")
    saved = load_config(trained)
    assert isinstance(saved, ClassificationConfig)
    assert (saved.data, saved.crop_scale) == (data, (0.35, 1.0))


def test_classes_without_validation_images_have_no_accuracy(config, tmp_path):
    experiment = ClassificationExperiment(config, ("blue", "red", "green"))
    task = experiment.build_task(torch.nn.Identity())
    task.confusion = torch.tensor([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    assert experiment.write_scores(tmp_path, task) == {"per_class": {"blue": 0.75, "red": 1.0, "green": None}}


def test_evaluation_of_another_network_is_refused(trained):
    config = dataclasses.replace(load_config(trained), block="none")
    with pytest.raises(ValueError, match="the network is not the one of the checkpoint"):
        evaluate(trained, config)


def test_evaluation_repeats_the_scores(trained, data, capsys):
    config = load_config(trained)
    scores = evaluate(trained, config, checkpoint="last")
    assert scores["val_top1"] == results_of(trained)["scores"]["val_top1"]
    assert (trained / "evaluations" / "001" / "confusion.png").exists()
    assert "20 training and 4 validation images of 2 classes" in capsys.readouterr().out


def test_predictions(trained, data, tmp_path):
    for index in range(3):
        picture("red", 100 + index, size=(40, 30)).save(tmp_path / f"{index}.jpg")
    path = predict(trained, load_config(trained), [data / "blue", tmp_path / "2.jpg"], tmp_path / "out")
    predictions = json.loads(path.read_text())
    assert [one["file"] for one in predictions] == [
        *map(str, sorted((data / "blue").iterdir())),
        str(tmp_path / "2.jpg"),
    ]
    for one in predictions:
        shares = [each["probability"] for each in one["classes"]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert {each["class"] for each in one["classes"]} == {"blue", "red"}
    assert predictions[-1]["classes"][0]["class"] == "red"
    with Image.open(tmp_path / "out" / "predictions.png") as sheet:
        assert sheet.width > 1000


def test_inputs_that_cannot_be_predicted(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: folder without images"):
        predict(trained, load_config(trained), [tmp_path / "empty"], tmp_path / "out")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match=r"text\.png: cannot be decoded"):
        predict(trained, load_config(trained), [tmp_path / "text.png"], tmp_path / "out")


@pytest.mark.parametrize("form", ["shards", "hub"])
def test_other_forms_of_data(tmp_path, form):
    datasets.disable_progress_bars()
    root = tmp_path / "data"
    root = write_shards(root, train=(9, 11), val=(4,)) if form == "shards" else write_hub(root, train=20, test=4)
    run = train(configure(root, tmp_path / "runs", epochs=1))
    assert len(results_of(run)["per_class"]) == 2


def test_shards_go_on_to_the_same_bits(tmp_path, monkeypatch):
    root = write_shards(tmp_path / "data", train=(9, 11), val=(4,))
    options = {"save_minutes": 0, "mixup": 0.2, "erasing": 0.5}
    expected = train(configure(root, tmp_path / "whole", **options))
    losses, steps = ClassificationTask.losses, []

    def stop(self, batch):
        steps.append(1)
        if len(steps) == 4:
            raise OSError("power cut")
        return losses(self, batch)

    monkeypatch.setattr(ClassificationTask, "losses", stop)
    config = configure(root, tmp_path / "runs", **options)
    with pytest.raises(TrainingStopped, match="power cut"):
        train(config)
    run = train(config, tmp_path / "runs" / "001")
    assert len(steps) == 4 + 10 - 3
    assert_same(run, expected)


def test_more_than_five_classes_have_top5(tmp_path):
    for index in range(6):
        (tmp_path / "data" / str(index)).mkdir(parents=True)
        for copy in range(2):
            Image.new("RGB", (16, 16), (index * 40, 0, 0)).save(tmp_path / "data" / str(index) / f"{copy}.png")
    config = configure(tmp_path / "data", tmp_path / "runs", block="none", stages=(), epochs=1, batch_size=6)
    results = results_of(train(config))
    assert 0 <= results["scores"]["val_top1"] <= results["scores"]["val_top5"] <= 1
    assert results["added_parameters"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "gcb"}, "did you mean 'gc'"),
        ({"backbone": "resnet19"}, "did you mean"),
        ({"epochs": 0}, "epochs=0"),
        ({"lr": -1.0}, r"lr=-1\.0"),
        ({"warmup": -1.0}, r"warmup=-1\.0"),
        ({"workers": -1}, "workers=-1"),
        ({"precision": "fp8"}, "precision='fp8'"),
        ({"stages": ("c6",)}, "c6"),
        ({"position": "after_2x2"}, "after_2x2"),
        ({"block": "snl", "ratio": 1 / 4}, "no hidden layer"),
        ({"image_column": "photo"}, "image_column='photo' does not go with a folder of images"),
    ],
)
def test_mistakes_are_found_before_training(config, options, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(config, **options))
    assert not config.out.exists(), "a run folder was made for a run that cannot start"


def test_fewer_images_than_a_batch(config):
    with pytest.raises(ValueError, match="batch_size=100 is more than the 20 training samples"):
        train(dataclasses.replace(config, batch_size=100))


def test_corrupt_images_are_found_before_training(config, data, tmp_path):
    copy = write_folder(tmp_path / "copy")
    (copy / "blue" / "3.png").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"blue.3\.png: cannot be read as an image"):
        train(dataclasses.replace(config, data=copy))
    assert not config.out.exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_truncated_images_stop_the_training_or_are_counted(config, tmp_path, workers):
    copy = write_folder(tmp_path / "copy")
    for path in (copy / "blue").iterdir():
        path.write_bytes(path.read_bytes()[:500] if path.name == "3.png" else path.read_bytes())
    config = dataclasses.replace(config, data=copy, workers=workers)
    with pytest.raises(TrainingStopped, match=r"blue.3\.png: cannot be decoded"):
        train(config)
    (message,) = results_of(train(dataclasses.replace(config, on_broken="skip")))["broken_samples"]
    assert "3.png: cannot be decoded" in message


def test_files_without_header_are_left_out_on_request(config, tmp_path):
    copy = write_folder(tmp_path / "copy")
    (copy / "red" / "3.png").write_bytes(b"junk")
    results = results_of(train(dataclasses.replace(config, data=copy, on_broken="skip", epochs=1)))
    assert "3.png: cannot be decoded" in results["broken_samples"][0]


def test_a_refused_resume_changes_nothing(config, trained, tmp_path):
    before = (trained / "config.json").read_text()
    write_folder(tmp_path / "other", classes=("green", "red"), count=6)
    saved = load_config(trained)
    with pytest.raises(ValueError, match=r"classes are green, red; .* was trained on blue, red"):
        train(dataclasses.replace(saved, epochs=4, data=tmp_path / "other"), trained)
    assert (trained / "config.json").read_text() == before


@pytest.mark.parametrize("name", ["image_size", "test_size"])
def test_sizes_the_network_does_not_take(config, name):
    sizes = {"image_size": 224, "test_size": 224, name: 32}
    options = {"backbone": "timm:vit_tiny_patch16_224", "block": "none", "stages": (), **sizes}
    with pytest.raises(ValueError, match=f"{name}=32: VisionTransformer does not run"):
        train(dataclasses.replace(config, **options))
    assert not config.out.exists()


def test_added_blocks_have_their_own_rate_and_norms_no_decay(config):
    config = dataclasses.replace(config, lr=0.1, added_lr=0.5, weight_decay=0.05)
    net = ClassificationExperiment(config).build_network()
    groups = optimizer_and_schedule(net, config, steps=10)["optimizer"].param_groups
    assert {(group["name"], group["initial_lr"], group["weight_decay"]) for group in groups} == {
        ("host", 0.1, 0.05),
        ("host, no decay", 0.1, 0.0),
        ("added", 0.5, 0.05),
        ("added, no decay", 0.5, 0.0),
    }


def test_match_inserts_anywhere(config, capsys):
    config = dataclasses.replace(config, backbone="timm:test_convnext", block="se", stages=(), match=("stages.*",))
    ClassificationExperiment(config).build_network()
    assert "stages.3.context_block" in capsys.readouterr().out


def test_best_weights_of_a_run_with_blocks_are_weights(config, trained):
    best = str(trained / "checkpoints" / "best.ckpt")
    net = ClassificationExperiment(dataclasses.replace(config, weights=best)).build_network()
    state = torch.load(best, weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[f"net.{name}"]) for name, value in net.state_dict().items())


def test_a_loss_that_is_not_finite_stops_the_run(config):
    with pytest.raises(TrainingStopped, match="the loss is not finite at step"):
        train(dataclasses.replace(config, lr=1e30, warmup=0.0, epochs=3))
