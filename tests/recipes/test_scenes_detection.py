"""The recipe of the scenes runs end to end, at the smallest size."""

import dataclasses
import json

import pytest

pytest.importorskip("lightning")
pytest.importorskip("sklearn")

from gcnet.recipes.scenes_detection import scenes_detection
from gcnet.training.evaluate import predict
from gcnet.training.run import train
from gcnet.training.run_folder import load_config
from gcnet.training.scenes.detection import DetectionScenes
from gcnet.training.scenes.make import make_scenes


def test_it_trains_scores_and_predicts(tmp_path):
    scenes = make_scenes("detection", tmp_path / "scenes", DetectionScenes(train=8, val=2, size=64, digits=4))
    recipe = dataclasses.replace(
        scenes_detection(scenes),
        max_detections=5,
        epochs=1,
        batch_size=4,
        workers=0,
        threads=1,
        loggers=(),
        out=tmp_path,
    )
    run = train(recipe)
    results = json.loads((run / "results.json").read_text())
    assert results["box"]["per_class"].keys() == {"darker digit", "brighter digit"}
    assert 0 <= results["scores"]["val_mask_ap"] <= 1
    assert results["added_parameters"] > 0
    path = predict(run, load_config(run), [scenes / "val"], tmp_path / "out")
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "0001_00000.jpg",
        "0002_00001.jpg",
        "predictions.json",
    ]
