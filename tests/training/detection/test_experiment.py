"""Detection from data to results: trained, stopped, resumed, scored by several processes, used on new images."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from PIL import Image

pytest.importorskip("lightning")

from gcnet.training.detection.detections import ground_truth
from gcnet.training.detection.experiment import DetectionExperiment
from gcnet.training.detection.task import DetectionTask
from gcnet.training.evaluate import evaluate, predict
from gcnet.training.run import TrainingStopped, train
from gcnet.training.run_folder import load_config
from tests.training.detection.configs import config
from tests.training.detection.shapes import make_coco, read, write


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_coco(tmp_path_factory.mktemp("shapes"), train=6, val=3)


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return train(config(root, score_threshold=0.0, loggers=(), threads=1, out=out))


def test_the_data_in_a_line(root):
    experiment = DetectionExperiment(config(root))
    assert experiment.classes == ("square", "disc")
    assert experiment.summary == (
        "6 images (1 without objects) with 10 objects to train on, 3 images (1 without objects) with 4 objects to "
        "score, 2 classes"
    )


def test_images_without_objects_can_be_left_out(root):
    assert len(DetectionExperiment(config(root)).train_loader().dataset.dataset) == 6
    assert len(DetectionExperiment(config(root, keep_empty=False)).train_loader().dataset.dataset) == 5


def test_a_run_leaves_scores_results_and_pictures(run):
    results = json.loads((run / "results.json").read_text())
    assert results["score"] == "val_box_ap"
    assert {"val_box_ap", "val_box_ap50", "val_box_ap75", "val_box_ap_small", "val_mask_ap"} <= results["scores"].keys()
    assert results["history"][0]["train_loss_mask"] > 0
    for kind in ("box", "mask"):
        assert results[kind]["per_class"].keys() == {"square", "disc"}
        assert results[kind]["overall"]["ap"] == results["scores"][f"val_{kind}_ap"]
        assert "ar_10" in results[kind]["overall"]
    assert results["added_parameters"] > 0
    detections = json.loads((run / "detections.json").read_text())
    assert {entry["image_id"] for entry in detections} == {101, 102, 103}
    assert {entry["category_id"] for entry in detections} <= {3, 8}
    with Image.open(run / "detections.png") as picture:
        assert picture.height > 3 * 320


def test_a_stopped_run_goes_on_to_the_same_bits(root, run, tmp_path, monkeypatch):
    options = dataclasses.replace(load_config(run), out=tmp_path, save_minutes=0)
    original, count = DetectionTask.losses, [0]

    def losses(self, batch):
        if count[0] == 2:
            raise OSError("power cut")
        count[0] += 1
        return original(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(DetectionTask, "losses", losses)
        with pytest.raises(TrainingStopped, match="power cut"):
            train(options, tmp_path / "again")
    train(options, tmp_path / "again")
    first, second = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (run, tmp_path / "again")
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_scoring_again_gives_the_same(run):
    scores = evaluate(run, load_config(run))
    results = json.loads((run / "results.json").read_text())
    assert scores == {name: pytest.approx(results["scores"][name]) for name in scores}
    again = run / "evaluations" / "001"
    assert (again / "detections.json").read_text() == (run / "detections.json").read_text()


def test_more_detections_can_be_scored(run):
    evaluate(run, dataclasses.replace(load_config(run), max_detections=2))
    evaluation = sorted((run / "evaluations").iterdir())[-1]
    assert "ar_2" in json.loads((evaluation / "evaluation.json").read_text())["box"]["overall"]
    assert len(json.loads((evaluation / "detections.json").read_text())) == 6


def test_the_truth_as_detections_scores_one(root):
    experiment = DetectionExperiment(config(root))
    task = experiment.build_task(torch.nn.Identity())
    task.found = {index: ground_truth(experiment.val, index) for index in range(3)}
    task.score()
    assert {kind: scores.overall["ap"] for kind, scores in task.scores.items()} == {"box": 1.0, "mask": 1.0}


def test_use_on_new_images_needs_no_data(run, root, tmp_path):
    (tmp_path / "other").mkdir()
    Image.new("L", (70, 40)).save(tmp_path / "other/1.jpg")
    options = dataclasses.replace(load_config(run), data=tmp_path / "gone")
    path = predict(run, options, [root / "val", tmp_path / "other/1.jpg"], tmp_path / "out")
    predictions = json.loads(path.read_text())
    assert {entry["file_name"] for entry in predictions} == {
        *(str(root / "val" / f"{number}.png") for number in (1, 2, 3)),
        str(tmp_path / "other/1.jpg"),
    }
    assert {(entry["category_id"], entry["category"]) for entry in predictions} <= {(1, "square"), (2, "disc")}
    assert {file.name for file in path.parent.iterdir()} == {
        *("predictions.json", "0001_1.jpg", "0002_2.jpg", "0003_3.jpg", "0004_1.jpg")
    }


def test_a_folder_without_images(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="folder without images"):
        predict(run, load_config(run), [tmp_path], tmp_path / "out")


def test_the_checkpoint_of_a_run_starts_another(run, root, tmp_path):
    weights = str(run / "checkpoints/best.ckpt")
    experiment = DetectionExperiment(config(root, weights=weights, out=tmp_path))
    expected = torch.load(weights, weights_only=True)["state_dict"]
    for name, value in experiment.build_network().state_dict().items():
        assert torch.equal(value, expected[f"net.{name}"])


def test_broken_images_are_errors_or_counted_on_request(root, tmp_path):
    broken = make_coco(tmp_path / "broken", train=6, val=3)
    for path in ("train/2.png", "val/2.png"):
        (broken / path).write_bytes(b"no picture")
    options = config(broken, loggers=(), threads=1, out=tmp_path, check_files=False)
    with pytest.raises(TrainingStopped, match=r"train/2\.png: cannot be decoded"):
        train(options)
    results = json.loads((train(dataclasses.replace(options, on_broken="skip")) / "results.json").read_text())
    assert len(results["broken_samples"]) == 2


@pytest.mark.slow
def test_two_processes_score_every_image_once(run, tmp_path):
    evaluate(run, load_config(run))
    alone = sorted((run / "evaluations").iterdir())[-1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    (tmp_path / "score.py").write_text(
        "import sys; from pathlib import Path\n"
        "from gcnet.training import evaluate, run_folder\n"
        "evaluate.evaluate(Path(sys.argv[1]), run_folder.load_config(Path(sys.argv[1])))\n"
    )
    subprocess.run([*torchrun, str(tmp_path / "score.py"), str(run)], check=True, timeout=300)
    together = sorted((run / "evaluations").iterdir())[-1]
    assert together != alone
    assert (together / "detections.json").read_text() == (alone / "detections.json").read_text()
    first, second = (json.loads((folder / "evaluation.json").read_text()) for folder in (alone, together))
    assert first["scores"] == second["scores"]


@pytest.mark.slow
def test_four_images_are_learned_by_heart(tmp_path):
    small = make_coco(tmp_path / "small", train=5, val=5)
    (small / "val").rename(small / "unused")
    write(small, "val", read(small, "train"))
    options = config(
        small,
        val_images="train",
        epochs=60,
        lr=2e-3,
        warmup=2.0,
        clip=10.0,
        mirror=0.0,
        rois=32,
        channels=32,
        loggers=(),
        threads=2,
        out=tmp_path,
    )
    results = json.loads((train(options) / "results.json").read_text())
    assert results["best"] > 0.7
    assert results["scores"]["val_mask_ap"] > 0.4
