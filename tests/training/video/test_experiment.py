import dataclasses
import json

import pytest

from gcnet.training.evaluate import evaluate, predict
from gcnet.training.loading import BrokenSample
from gcnet.training.run import train
from gcnet.training.run_folder import load_config
from gcnet.training.video.experiment import VideoExperiment
from tests.training.video.files import cut, moving_bar, write_sound, write_video
from tests.training.video.settings import settings


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "moving"
    for name, direction in (("left", -1), ("right", 1)):
        for index in range(6):
            path = root / ("train" if index < 4 else "val") / name / f"{index}.mp4"
            write_video(path, moving_bar(direction, index), size=(32, 24))
    return root


@pytest.fixture(scope="module")
def run(data):
    return train(settings(data, stride=1, epochs=2))


def test_a_training_writes_scores_and_pictures(data, run):
    results = json.loads((run / "results.json").read_text())
    assert results["score"] == "val_top1"
    assert 0 <= results["final"] <= 1
    assert results["per_class"].keys() == {"left", "right"}
    assert len(results["history"]) == 2
    assert (run / "classes.csv").read_text().startswith("class,")
    assert (run / "confusion.png").exists()
    assert sorted(path.name for path in (run / "attention").iterdir()) == ["1.png", "2.png", "3.png", "4.png"]


def test_more_views_in_the_evaluation(data, run, capsys):
    config = dataclasses.replace(load_config(run), views="3x2")
    scores = evaluate(run, config)
    assert scores.keys() == {"val_loss", "val_top1", "val_clip_top1"}
    assert "4 validation videos of 2 classes" in capsys.readouterr().out


def test_predictions(data, run, tmp_path):
    short = cut(write_video(tmp_path / "in" / "short.mkv", moving_bar(1, 0, 30), size=(32, 24)), 0.6)
    path = predict(run, load_config(run), [data / "val" / "left", short], tmp_path / "out")
    found = json.loads(path.read_text())
    assert [entry["file"].rpartition("/")[2] for entry in found] == ["4.mp4", "5.mp4", "short.mkv"]
    for entry in found:
        assert {one["class"] for one in entry["classes"]} == {"left", "right"}
        assert sum(one["probability"] for one in entry["classes"]) == pytest.approx(1)
    assert [entry["missing_frames"] for entry in found[:2]] == [0, 0]
    assert found[2]["frames"] + found[2]["missing_frames"] == 30
    assert found[2]["missing_frames"] > 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"0001_4.png", "0002_5.png", "0003_short.png"}
    with pytest.raises(BrokenSample, match=r"sound.wav: has no video stream"):
        predict(run, load_config(run), [write_sound(tmp_path / "sound.wav")], tmp_path / "out")


def test_the_data_is_looked_at(data, tmp_path):
    for index in range(3):
        for name in ("a", "b"):
            write_video(tmp_path / "data" / name / f"{index}.mkv", range(60))
    experiment = VideoExperiment(settings(tmp_path / "data"))
    assert experiment.summary == "4 training and 2 validation videos of 2 classes"
    cut(tmp_path / "data" / "a" / "1.mkv", 0.6)
    summary = VideoExperiment(settings(tmp_path / "data")).summary
    assert "; 1 with a broken tail are used as far as they go, such as" in summary
    assert "1.mkv with" in summary
    (tmp_path / "data" / "b" / "1.mkv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b/1.mkv: cannot be decoded \(it is empty\)"):
        VideoExperiment(settings(tmp_path / "data"))
    VideoExperiment(settings(tmp_path / "data", on_broken="skip"))
    VideoExperiment(settings(tmp_path / "data", check_files=False))


def test_broken_videos_are_left_out_on_request(data, tmp_path):
    for name in ("left", "right"):
        for split, source in (("train", 0), ("train", 1), ("train", 2), ("val", 4)):
            path = tmp_path / "data" / split / name / f"{source}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((data / split / name / path.name).read_bytes())
    (tmp_path / "data" / "train" / "left" / "1.mp4").write_bytes(b"")
    (tmp_path / "data" / "val" / "left" / "4.mp4").write_text("no video")
    run = train(settings(tmp_path / "data", on_broken="skip", batch_size=3))
    results = json.loads((run / "results.json").read_text())
    assert sorted(message.rpartition("/")[2][:5] for message in results["broken_samples"]) == ["1.mp4", "4.mp4"]


def test_clips_too_small_for_the_network(data):
    with pytest.raises(ValueError, match=r"crop=16, frames=1: ResNet does not run on an input of"):
        VideoExperiment(settings(data, backbone="i3d_r18", frames=1)).build_network()
