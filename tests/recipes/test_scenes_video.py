import json
from dataclasses import replace

from gcnet.recipes.scenes_video import RECIPES
from gcnet.training.run import train
from gcnet.training.scenes.make import make_scenes
from gcnet.training.scenes.video import VideoScenes


def test_the_recipe_runs_on_its_scenes(tmp_path):
    (recipe,) = RECIPES
    data = make_scenes("video", tmp_path / "scenes", VideoScenes(train=32, val=24, size=32, digits=4, frames=8))
    config = replace(recipe.make(data), epochs=1, batch_size=8, frames=4, workers=0, loggers=(), out=tmp_path)
    results = json.loads((train(config) / "results.json").read_text())
    assert results["per_class"].keys() == {"down", "left", "right", "up"}
    assert results["added_parameters"] > 0
    assert len(results["history"]) == 1
