"""The verbs: overriding fields of a recipe, going on, scoring and using a run, errors, stopping."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("tyro")
pytest.importorskip("lightning")

from gcnet.recipes import cli
from gcnet.recipes.parsing import parse
from gcnet.training import run
from gcnet.training.classification.task import ClassificationTask
from gcnet.training.demo import comparison as demo
from gcnet.training.run_folder import load_config


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate("ab"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (16, 16), (200 * number, 0, 0)).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


@pytest.fixture
def words(photos, tmp_path):
    """A training of a second."""
    small = "--backbone timm:test_resnet --block none --image-size 32 --batch-size 2 --workers 0 --threads 1"
    return f"classification --data {photos} --out {tmp_path / 'runs'} {small}".split()


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
    monkeypatch.setattr(run, "train", lambda *arguments: seen.append(arguments))
    words = f"classification --data {photos} --stages c4,c5 --ratio 1/4 --added-lr 1e-2 --weights w.pt"
    words += " --position after_add --schedule steps --milestones 2,4 --crop-scale 0.1 1 --run here"
    assert cli.train(words.split()) == 0
    config, folder = seen[0]
    assert (config.data, config.stages, config.ratio, config.added_lr) == (photos, ("c4", "c5"), 1 / 4, 0.01)
    assert (config.weights, config.position, config.milestones, config.crop_scale) == (
        "w.pt",
        "after_add",
        (2, 4),
        (0.1, 1),
    )
    assert str(folder) == "here"


def test_match_replaces_the_stages_of_a_recipe(monkeypatch, photos):
    seen = []
    monkeypatch.setattr(run, "train", lambda config, folder: seen.append(config))
    assert cli.train(f"classification --data {photos} --match stages.* --warmup-steps 5".split()) == 0
    assert (seen[0].stages, seen[0].match) == ((), ("stages.*",))
    assert (seen[0].warmup, seen[0].warmup_steps) == (0, 5)


def test_another_block_has_its_own_ratio(monkeypatch, photos):
    seen = []
    monkeypatch.setattr(run, "train", lambda config, folder: seen.append(config))
    for words in ("--block se", "--block gc", "--block se --ratio 1/8"):
        assert cli.train(f"coco-r50-gc-r4-sync-1x --data {photos} {words}".split()) == 0
    assert [config.ratio for config in seen] == [None, 1 / 4, 1 / 8]


def test_train_evaluate_predict_and_go_on(words, photos, tmp_path, capsys):
    assert cli.train([*words, "--epochs", "1"]) == 0
    folder = tmp_path / "runs" / "001"
    assert cli.train(["--resume", str(folder), "--epochs", "2"]) == 0
    assert cli.train(["classification", "--resume", str(folder), "--epochs", "3"]) == 0
    assert len(json.loads((folder / "results.json").read_text())["history"]) == 3
    assert not (tmp_path / "runs" / "002").exists()
    assert load_config(folder).epochs == 3

    assert cli.evaluate([str(folder), "--checkpoint", "last"]) == 0
    evaluation = json.loads((folder / "evaluations" / "001" / "evaluation.json").read_text())
    results = json.loads((folder / "results.json").read_text())
    assert evaluation["scores"]["val_top1"] == results["final"]

    photos.rename(tmp_path / "elsewhere")  # predictions need no training data
    assert cli.predict([str(folder), str(tmp_path / "elsewhere" / "a"), "--out", str(tmp_path / "out")]) == 0
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 4
    assert "Tip" not in capsys.readouterr().err


def test_the_same_command_goes_on_in_its_folder(words, tmp_path, capsys):
    folder = tmp_path / "here"
    assert cli.train([*words, "--run", str(folder), "--epochs", "1"]) == 0
    assert cli.train([*words, "--run", str(folder), "--epochs", "2"]) == 0
    assert len(json.loads((folder / "results.json").read_text())["history"]) == 2
    assert cli.train([*words, "--run", str(folder), "--epochs", "2"]) == 2
    assert "has finished 2; ask for more" in capsys.readouterr().err
    assert cli.train([*words, "--run", str(folder), "--epochs", "3", "--lr", "0.5"]) == 2
    assert "lr=0.5 differs from 0.001" in capsys.readouterr().err


def test_a_moved_run_goes_on(words, tmp_path):
    assert cli.train([*words, "--epochs", "1"]) == 0
    moved = (tmp_path / "runs").rename(tmp_path / "moved") / "001"
    assert cli.train(["--resume", str(moved), "--epochs", "2"]) == 0
    assert {path.name for path in (moved / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("verb", "words", "message"),
    [
        ("demo", "--blocks none,gcc", "did you mean 'gc'"),
        ("train", "clasification --data x", "did you mean 'classification'"),
        ("train", "classification --data nowhere", "data=nowhere: no such folder"),
        ("train", "classification --resume nowhere", "no such run"),
        ("train", "classification --resume", "--resume needs"),
        ("train", "--epochs 3", "give a recipe first"),
        ("train", "--resume a --run b", "give one of them"),
        ("evaluate", "nowhere", "no such run"),
        ("predict", "nowhere a.png", "no such run"),
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


def test_mistakes_about_a_run_are_explained(words, tmp_path, capsys):
    assert cli.train([*words, "--epochs", "1"]) == 0
    folder = tmp_path / "runs" / "001"
    for verb, rest, message in (
        ("predict", [], "give at least one file or folder"),
        ("predict", ["gone.png"], "gone.png: no such file or folder"),
        ("evaluate", ["--checkpoint", "worst"], "not one of 'best', 'last'"),
        ("train", ["--run", str(tmp_path)], "holds other files and no run"),
    ):
        given = [*words, *rest] if verb == "train" else [str(folder), *rest]
        assert getattr(cli, verb)(given) == 2
        assert message in capsys.readouterr().err
    (folder / "config.json").write_text("{")
    assert cli.train(["--resume", str(folder)]) == 2
    assert "config.json is damaged" in capsys.readouterr().err


def test_corrupt_image_in_a_worker_is_named(words, photos, capsys):
    (photos / "a" / "0.png").write_bytes(b"junk")
    with pytest.raises(SystemExit) as stop:
        cli.train([*words, "--check-files", "False", "--workers", "1"])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "0.png" in error
    assert "there is no checkpoint yet" in error
    assert "Traceback" not in error


def test_interrupt_while_training_keeps_finished_epochs(words, tmp_path, monkeypatch, capsys):
    """Ctrl-C in the second epoch: the first is on disk, and the message says how to go on."""
    training_step = ClassificationTask.training_step

    def stop_in_second_epoch(task, *arguments):
        if task.current_epoch == 1:
            raise KeyboardInterrupt
        return training_step(task, *arguments)

    monkeypatch.setattr(ClassificationTask, "training_step", stop_in_second_epoch)
    handler = signal.getsignal(signal.SIGINT)
    assert cli.train([*words, "--epochs", "3"]) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    folder = tmp_path / "runs" / "001"
    message = capsys.readouterr().err
    assert f"Stopped in epoch 2 of 3; the last checkpoint is {folder / 'checkpoints' / 'last.ckpt'}" in message
    assert f"go on with --resume {folder}" in message
    monkeypatch.undo()
    assert cli.train(["--resume", str(folder)]) == 0
    assert [epoch["epoch"] for epoch in json.loads((folder / "results.json").read_text())["history"]] == [1, 2, 3]


def test_missing_packages_name_the_extra():
    code = "import sys; sys.modules['lightning'] = None; from gcnet.recipes import cli; sys.exit(cli.demo([]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == """gcnet demo needs 'lightning': pip install "gcnet[train]"\n"""


def test_help_says_where_the_recipes_are(capsys):
    for words, status in ((["--help"], 0), ([], 2)):
        with pytest.raises(SystemExit) as stop:
            cli.train(words)
        assert stop.value.code == status
        assert "gcnet recipes" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("Stopped: 1 of 2 trainings were finished",), ()])
def test_stopping_leaves_a_message(monkeypatch, capsys, words):
    def stop(config):
        raise KeyboardInterrupt(*words)

    monkeypatch.setattr(demo, "run_demo", stop)
    assert cli.demo([]) == 130
    assert "Stopped" in capsys.readouterr().err


def test_every_recipe_takes_every_field_as_an_option():
    from gcnet.recipes.table import recipes

    for name, recipe in recipes().items():
        words = ["--data", "elsewhere", "--epochs", "7", "--seed", "3"]
        config = parse(f"gcnet train {name}", recipe.make(Path("data")), words)
        assert (str(config.data), config.epochs, config.seed) == ("elsewhere", 7, 3)
