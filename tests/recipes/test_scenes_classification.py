"""The recipe of the scenes runs end to end, at the smallest size."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from gcnet.recipes.scenes_classification import scenes_classification
from gcnet.training.evaluate import predict
from gcnet.training.run import train
from gcnet.training.run_folder import load_config
from gcnet.training.scenes.classification import ClassificationScenes
from gcnet.training.scenes.make import make_scenes


def test_it_trains_scores_and_predicts(tmp_path):
    scenes = make_scenes("classification", tmp_path / "scenes", ClassificationScenes(train=32, val=16))
    tiny = {"backbone": "timm:test_resnet", "epochs": 1, "batch_size": 8, "workers": 0, "threads": 1, "loggers": ()}
    run = train(replace(scenes_classification(scenes), **tiny, out=tmp_path / "runs"))
    results = json.loads((run / "results.json").read_text())
    assert results["per_class"].keys() == {"brighter", "darker"}
    assert results["added_parameters"] > 0
    path = predict(run, load_config(run), [scenes / "val"], tmp_path / "out")
    assert len(json.loads(path.read_text())) == 16


def test_what_decides_is_left_in_the_pictures(tmp_path):
    config = scenes_classification(tmp_path)
    assert (config.crop_scale, config.resize, config.crop, config.colour_jitter) == ((1, 1), 64, 64, 0)
