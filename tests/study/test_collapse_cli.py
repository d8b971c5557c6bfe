"""gcnet collapse over runs of every task."""

import dataclasses
import json
import shutil

import pytest
import torch

pytest.importorskip("lightning")

import gcnet
from gcnet.cli import main
from gcnet.recipes.scenes_segmentation import scenes_segmentation
from gcnet.recipes.scenes_video import scenes_video
from gcnet.study import comparison
from gcnet.study.subject import open_subject
from gcnet.training.experiment import open_experiment
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.scenes.detection import DetectionScenes
from gcnet.training.scenes.make import make_scenes
from gcnet.training.scenes.video import VideoScenes
from tests.study.saved_runs import photo_config, save_run
from tests.training.classification.photos import write_folder
from tests.training.detection.configs import config as detection

BLOCK = "layer3.0.context_block"
SMALL = {"batch_size": 4, "workers": 0, "threads": 1, "check_files": False}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(comparison, "ROUNDS", 2)
    monkeypatch.setattr(comparison, "SECONDS", 1e-4)


@pytest.fixture
def run(tmp_path):
    """A classifier with a block whose query is a bias alone."""
    for part in ("train", "val"):
        write_folder(tmp_path / "photos" / part, count=6)
    config = dataclasses.replace(photo_config(tmp_path / "photos"), block_options=(), **SMALL)
    save_run(tmp_path / "run", config, ("blue", "red"))
    change(tmp_path / "run", lambda name, value: torch.zeros_like(value) if "query.weight" in name else value)
    return tmp_path / "run"


def change(run, function):
    """Rewrite the weights in a run's checkpoints."""
    for path in (run / "checkpoints").iterdir():
        saved = torch.load(path, weights_only=True)
        saved["state_dict"] = {name: function(name, value) for name, value in saved["state_dict"].items()}
        torch.save(saved, path)


def loss_without_block(run):
    """As evaluate says of a run whose block adds nothing."""
    plain = run.parent / "plain"
    shutil.copytree(run, plain)
    change(plain, lambda name, value: torch.zeros_like(value) if ".out." in name else value)
    assert main(["evaluate", str(plain)]) == 0
    return json.loads((plain / "evaluations" / "001" / "evaluation.json").read_text())["scores"]["val_loss"]


def test_the_new_network_is_written_beside_the_run(run, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["collapse", str(run), "--to", "snl", "--images", "8"]) == 0
    printed = capsys.readouterr().out
    assert f"{BLOCK}  SimplifiedNonLocal(" in printed
    assert "val_top1" in printed
    assert "multiply-adds" in printed
    assert {path: path.read_bytes() for path in before} == before
    report = json.loads((run / "collapsed" / "001" / "report.json").read_text())
    assert report["images"] == 8
    assert report["collapsed"][0]["error"] < 1e-4
    before, after, without = report["scores"]["val_loss"]
    assert before == pytest.approx(after, abs=1e-5)
    assert without == pytest.approx(loss_without_block(run), abs=1e-5)
    assert abs(without - before) > 1e-4
    original = open_subject(str(run))
    collapsed = open_subject(str(run / "collapsed" / "001" / "model.safetensors"))
    x = torch.randn(2, 3, 32, 32)
    assert torch.allclose(original(x), collapsed(x), atol=1e-5)
    assert isinstance(collapsed.net.get_submodule(BLOCK), gcnet.SimplifiedNonLocal)
    params = [sum(p.numel() for p in subject.net.parameters()) for subject in (original, collapsed)]
    assert report["comparison"]["params"] == params
    assert main(["collapse", str(run), "--ratio", "1/4", "--distill", "2"]) == 0
    assert (run / "collapsed" / "002" / "model.safetensors").is_file()


def test_scores_are_those_of_evaluate(run, capsys):
    assert main(["collapse", str(run), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(run)]) == 0
    found = json.loads((run / "evaluations" / "001" / "evaluation.json").read_text())["scores"]
    assert {name: pair[0] for name, pair in report["scores"].items()} == pytest.approx(found)


def test_attention_that_depends_on_the_query_is_exit_status_1(run, capsys):
    assert main(["collapse", str(run), "--threshold", "1e-9"]) == 0
    torch.manual_seed(0)
    change(run, lambda name, value: torch.randn_like(value) if "query" in name or "key" in name else value)
    with pytest.raises(SystemExit) as stop:
        main(["collapse", str(run), "--threshold", "0.001"])
    assert stop.value.code == 1
    printed = capsys.readouterr().err
    assert f"{BLOCK}: cosine distance 0." in printed
    assert "above threshold=0.001" in printed
    assert "--force" in printed
    assert not (run / "collapsed" / "002").exists()
    assert main(["collapse", str(run), "--threshold", "0.001", "--force"]) == 0
    assert "forced" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "nl"], "to='nl'"),
        (["--ratio", "a"], "ratio 'a'"),
        (["--match", "layer9.*"], "match='layer9.*' matches none"),
        (["--images", "0"], "images=0"),
        (["--checkpoint", "first"], "checkpoint='first'"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(run, arguments, message, capsys):
    assert main(["collapse", str(run), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("gcnet collapse: ")
    assert message in error


def test_a_run_without_non_local_blocks(tmp_path, capsys):
    write_folder(tmp_path / "photos", count=6)
    config = dataclasses.replace(photo_config(tmp_path / "photos"), block="gc", block_options=(), **SMALL)
    save_run(tmp_path / "run", config, ("blue", "red"))
    assert main(["collapse", str(tmp_path / "run")]) == 2
    assert "has no non-local block, its blocks are GlobalContext" in capsys.readouterr().err


def segmentation_run(folder):
    return scenes_segmentation(make_scenes("segmentation", folder, SceneSettings(train=8, val=2)))


def video_run(folder):
    return scenes_video(make_scenes("video", folder, VideoScenes(train=16, val=16)))


def detection_run(folder):
    return detection(make_scenes("detection", folder, DetectionScenes(train=8, val=2)))


@pytest.mark.parametrize("make", [segmentation_run, video_run, detection_run])
def test_every_task(make, tmp_path, capsys):
    config = dataclasses.replace(make(tmp_path / "data"), block="nl", ratio=None, **SMALL)
    save_run(tmp_path / "run", config, open_experiment(config).classes)
    capsys.readouterr()
    assert main(["collapse", str(tmp_path / "run"), "--force", "--images", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["comparison"]["params"][0] > report["comparison"]["params"][1]
    assert report["scores"]
    subject = open_subject(f"{report['folder']}/model.safetensors")
    assert any(isinstance(module, gcnet.GlobalContext) for module in subject.net.modules())
