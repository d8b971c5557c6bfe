"""Folders of scenes appear whole, stay as they are, and are made again only for other settings."""

import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from gcnet.training.scenes import compose, segmentation
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.scenes.make import SCENE_TASKS, make_scenes


def content(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("task", SCENE_TASKS)
def test_same_seed_same_bytes(task, tmp_path):
    settings = SCENE_TASKS[task].settings(train=3, val=2, size=64, seed=7)
    first, second = (content(make_scenes(task, tmp_path / name, settings)) for name in ("a", "b"))
    assert first == second
    meta = json.loads((tmp_path / "a" / "meta.json").read_text())
    assert (meta["task"], meta["settings"]["seed"]) == (task, 7)
    assert meta["classes"] == list(SCENE_TASKS[task].classes)


@pytest.mark.parametrize("task", SCENE_TASKS)
def test_large_sets_are_made_in_parts(task, tmp_path, monkeypatch):
    """Scenes go on being numbered, and no part repeats another."""
    settings = SCENE_TASKS[task].settings(train=7, val=2, size=64)
    monkeypatch.setattr(compose, "PART", 3 * 64 * 64 * getattr(settings, "frames", 1))
    made = content(make_scenes(task, tmp_path / "made", settings))
    inputs = {path.name: data for path, data in made.items() if "train" in path.parts and "masks" not in path.parts}
    assert sorted(path.partition(".")[0] for path in inputs) == [f"{index:05}" for index in range(7)]
    assert len(set(inputs.values())) == 7
    if task == "detection":
        listed = json.loads(made[Path("annotations/instances_train.json")])
        assert len({entry["id"] for entry in listed["annotations"]}) == len(listed["annotations"]) > 7 * 8
        assert {entry["image_id"] for entry in listed["annotations"]} == {entry["id"] for entry in listed["images"]}


def test_reuse(tmp_path):
    out = tmp_path / "deep" / "scenes"
    make_scenes("segmentation", out, SceneSettings(train=2, val=1), reuse=True)
    (out / "train" / "images" / "00000.png").write_bytes(b"still here")
    make_scenes("segmentation", out, SceneSettings(train=2, val=1), reuse=True)
    assert (out / "train" / "images" / "00000.png").read_bytes() == b"still here"
    with pytest.raises(ValueError, match="other settings"):
        make_scenes("segmentation", out, SceneSettings(train=3, val=1), reuse=True)


def test_folders_that_are_not_empty_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for reuse in (False, True):
        with pytest.raises(FileExistsError, match=str(tmp_path)):
            make_scenes("segmentation", tmp_path, SceneSettings(train=1, val=1), reuse=reuse)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nothing_is_left_of_scenes_that_were_not_finished(tmp_path, monkeypatch):
    def full(arrays, paths):
        raise OSError("No space left on device")

    monkeypatch.setattr(segmentation, "save_pictures", full)
    with pytest.raises(OSError, match="No space"):
        make_scenes("segmentation", tmp_path / "scenes", SceneSettings(train=1, val=1))
    assert not list(tmp_path.iterdir())


def test_empty_folders_are_filled(tmp_path):
    assert (make_scenes("segmentation", tmp_path, SceneSettings(train=1, val=1)) / "meta.json").is_file()


def test_unknown_task():
    with pytest.raises(ValueError, match="did you mean 'detection'"):
        make_scenes("detecton", None, SceneSettings())


def test_settings_of_another_task(tmp_path):
    with pytest.raises(ValueError, match="SceneSettings, but scenes for video need VideoScenes"):
        make_scenes("video", tmp_path / "scenes", SceneSettings())
