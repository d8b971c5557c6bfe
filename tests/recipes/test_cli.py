"""The verbs: overriding fields of a recipe, errors, stopping."""

import json
import signal
import subprocess
import sys

import pytest
from PIL import Image

pytest.importorskip("tyro")
pytest.importorskip("lightning")

from gcnet.recipes import cli
from gcnet.training.classification import run_old as classification_run
from gcnet.training.classification.task import ClassificationTask
from gcnet.training.demo import comparison as demo


@pytest.fixture
def photos(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (16, 16)).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


def test_demo_overrides_any_field(monkeypatch):
    seen = []
    monkeypatch.setattr(demo, "run_demo", seen.append)
    words = "--blocks none,se,gc --seeds 3 --ratio 1/8 --scenes.train 40 --scenes.base 0.4 0.7"
    assert cli.demo(words.split()) == 0
    config = seen[0]
    assert config.blocks == ("none", "se", "gc")
    assert (config.seeds, config.ratio, config.scenes.train, config.scenes.base) == (3, 1 / 8, 40, (0.4, 0.7))
    assert config.epochs == 12


def test_train_overrides_any_field(monkeypatch, photos):
    seen = []
    monkeypatch.setattr(classification_run, "run_classification", lambda *arguments: seen.append(arguments))
    words = (
        f"classification --data {photos} --stages c4,c5 --ratio 1/4 --added-lr 1e-2 --weights w.pt --position after_add"
    )
    assert cli.train(words.split()) == 0
    config, resume = seen[0]
    assert (config.data, config.stages, config.ratio, config.added_lr) == (photos, ("c4", "c5"), 1 / 4, 0.01)
    assert (config.weights, config.position, resume) == ("w.pt", "after_add", None)


def test_train_and_resume(photos, tmp_path, capsys):
    words = f"classification --data {photos} --out {tmp_path / 'runs'} --block none --image-size 32 --batch-size 2"
    words += " --backbone timm:test_resnet"
    assert cli.train([*words.split(), "--workers", "0", "--epochs", "1"]) == 0
    run = tmp_path / "runs" / "001"
    assert cli.train(["classification", "--resume", str(run), "--epochs", "2"]) == 0
    assert len(json.loads((run / "results.json").read_text())["history"]) == 2
    assert not (tmp_path / "runs" / "002").exists()
    assert "Tip" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "words", "message"),
    [
        ("demo", "--blocks none,gcc", "did you mean 'gc'"),
        ("train", "clasification --data x", "did you mean 'classification'"),
        ("train", "classification --data nowhere", "data=nowhere: no such folder"),
        ("train", "classification --resume nowhere", "no such run"),
        ("train", "classification --resume", "--resume needs"),
    ],
)
def test_mistakes_are_explained(verb, words, message, capsys):
    try:
        status = getattr(cli, verb)(words.split())
    except SystemExit as stop:  # of the parser, which checks the configuration it builds
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in " ".join(error.split())
    assert "Traceback" not in error


def test_corrupt_image_in_a_worker_is_named(photos, tmp_path, capsys):
    (photos / "a" / "0.png").write_bytes(b"junk")
    words = (
        f"classification --data {photos} --check-files False --workers 1 --batch-size 2 --image-size 32 --block none"
    )
    assert cli.train([*words.split(), "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert "0.png: cannot be decoded" in error
    assert "Traceback" not in error


def test_interrupt_while_training_keeps_finished_epochs(photos, tmp_path, monkeypatch, capsys):
    """Ctrl-C in the second epoch: the first is on disk, and the message says how to go on."""
    words = f"classification --data {photos} --out {tmp_path / 'runs'} --block none --image-size 32 --batch-size 2"
    training_step = ClassificationTask.training_step

    def stop_in_second_epoch(task, *arguments):
        if task.current_epoch == 1:
            raise KeyboardInterrupt
        return training_step(task, *arguments)

    monkeypatch.setattr(ClassificationTask, "training_step", stop_in_second_epoch)
    handler = signal.getsignal(signal.SIGINT)
    assert cli.train([*words.split(), "--workers", "0", "--epochs", "3", "--backbone", "timm:test_resnet"]) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    run = tmp_path / "runs" / "001"
    assert f"Stopped after 1 of 3 epochs; continue with --resume {run}" in capsys.readouterr().err
    monkeypatch.undo()
    assert cli.train(["classification", "--resume", str(run)]) == 0
    assert [epoch["epoch"] for epoch in json.loads((run / "results.json").read_text())["history"]] == [1, 2, 3]


def test_missing_packages_name_the_extra():
    code = "import sys; sys.modules['lightning'] = None; from gcnet.recipes import cli; sys.exit(cli.demo([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == """gcnet demo needs 'lightning': pip install "gcnet[train]"\n"""


def test_help_lists_tasks(capsys):
    for words, status in ((["--help"], 0), ([], 2)):
        with pytest.raises(SystemExit) as stop:
            cli.train(words)
        assert stop.value.code == status
        assert "classification" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("Stopped: 1 of 2 trainings were finished",), ()])
def test_stopping_leaves_a_message(monkeypatch, capsys, words):
    def stop(config):
        raise KeyboardInterrupt(*words)

    monkeypatch.setattr(demo, "run_demo", stop)
    assert cli.demo([]) == 130
    assert "Stopped" in capsys.readouterr().err
