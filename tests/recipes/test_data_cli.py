"""``gcnet data``: what is made, and errors."""

import json

import pytest

pytest.importorskip("tyro")
pytest.importorskip("sklearn")

from gcnet.recipes.data_cli import data


def settings(folder):
    return json.loads((folder / "meta.json").read_text())["settings"]


@pytest.mark.parametrize("task", ["classification", "detection", "segmentation", "video"])
def test_make_scenes(task, tmp_path, capsys):
    words = (
        f"make scenes --task {task} --images 8 --seed 3 --size 48 --digits 5 --base 0.4 0.5 --out {tmp_path / 'made'}"
    )
    assert data(words.split()) == 0
    made = settings(tmp_path / "made")
    assert (made["train"], made["val"], made["seed"], made["size"]) == (8, 2, 3, 48)
    assert made["base"] == [0.4, 0.5]
    assert f"8 training and 2 validation scenes for {task}" in capsys.readouterr().out


def test_help_needs_no_task(capsys):
    with pytest.raises(SystemExit) as stop:
        data(["make", "scenes", "--help"])
    assert stop.value.code == 0
    assert "--task TASK" in capsys.readouterr().out


def test_validation_scenes(tmp_path):
    words = f"make scenes --task=segmentation --images=2 --val 3 --out={tmp_path / 'made'}"
    assert data(words.split()) == 0
    assert settings(tmp_path / "made")["val"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("make scenes", "give --task: classification, detection, segmentation, video"),
        ("make scenes --task clips", "task='clips' is not one of"),
        ("make scenes --task video --images 3 --train 4", "--images 3 and --train"),
        ("make scenes --task detection --out", "--out needs a folder"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    assert data(words.split()) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_existing_folders_stay(tmp_path, capsys):
    (tmp_path / "notes.txt").touch()
    assert data(f"make scenes --task segmentation --images 1 --out {tmp_path}".split()) == 2
    assert f"{tmp_path}: is there already" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["mak"], ["make", "photos"]])
def test_unknown_words_show_the_usage(words, capsys):
    with pytest.raises(SystemExit) as stop:
        data(words)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().out


class TestCheck:
    @pytest.fixture
    def folder(self, tmp_path):
        assert data(f"make scenes --task segmentation --images 4 --out {tmp_path / 'made'}".split()) == 0
        return tmp_path / "made"

    def test_sound_data(self, folder, capsys):
        assert data(["check", str(folder), "--workers", "2"]) == 0
        assert "Nothing is wrong." in capsys.readouterr().out

    def test_warnings_do_not_fail(self, folder, capsys):
        (folder / "notes.txt").touch()
        assert data(["check", str(folder)]) == 0
        assert "warning: unused file" in capsys.readouterr().out

    def test_errors_fail(self, folder, capsys):
        capsys.readouterr()
        for path in (folder / "train" / "masks").iterdir():
            path.unlink()
        assert data(["check", str(folder)]) == 1
        assert "and 1 more" in capsys.readouterr().out
        assert data(["check", str(folder), "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert [problem["kind"] for problem in report["errors"]] == ["image without mask"] * 4
        assert (report["task"], report["counts"]["val images"]) == ("segmentation", 1)

    def test_mistakes_are_one_line(self, tmp_path, capsys):
        assert data(["check", str(tmp_path / "nowhere")]) == 2
        assert "no such folder" in capsys.readouterr().err
