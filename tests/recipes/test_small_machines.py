"""The recipes for data of one's own run on whatever has the layout of their task: here on a few scenes."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from gcnet.recipes.table import find_recipe
from gcnet.training.run import train
from gcnet.training.scenes.make import SCENE_TASKS, make_scenes

#: What makes a recipe quick; everything else stays as it is.
QUICK = {
    "classification": {"image_size": 32},
    "detection": {"image_size": (64,), "max_size": 64, "max_detections": 5},
    "segmentation": {"resize": 64, "crop_size": (64, 64)},
    "video": {"frames": 2, "crop": 32, "short_side": (32, 32), "test_crop": 32},
}


@pytest.mark.parametrize("task", QUICK)
def test_one_epoch(task, tmp_path):
    scenes = {"train": 24, "val": 16, "size": 64, "digits": 4, **({"frames": 4} if task == "video" else {})}
    data = make_scenes(task, tmp_path / "scenes", SCENE_TASKS[task].settings(**scenes))
    common = {"epochs": 1, "batch_size": 8, "workers": 0, "threads": 1, "loggers": (), "out": tmp_path / "runs"}
    config = replace(find_recipe(task).make(data), **common, **QUICK[task])
    results = json.loads((train(config) / "results.json").read_text())
    assert results["added_parameters"] > 0
    assert len(results["history"]) == 1
