"""Every recipe: what it says, and that it builds."""

from pathlib import Path

import pytest

pytest.importorskip("lightning")

from gcnet.recipes import table
from gcnet.recipes.table import Recipe, find_recipe, recipes
from gcnet.training.config import TrainingConfig

RECIPES = recipes()


def test_names_are_unique_and_as_on_the_command_line():
    assert len(RECIPES) == sum(len(table.import_module(f"gcnet.recipes.{name}").RECIPES) for name in table.FILES)
    assert all(name == name.lower() and "_" not in name and " " not in name for name in RECIPES)


def test_every_task_has_a_recipe_of_its_name_for_small_machines():
    for task in ("classification", "detection", "segmentation", "video"):
        assert (RECIPES[task].task, RECIPES[task].hardware) == (task, "2 CPU cores")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_and_describes_itself(name):
    recipe = RECIPES[name]
    config = recipe.make(Path("DATA"))
    assert isinstance(config, TrainingConfig)
    assert config.data == Path("DATA")
    assert recipe.task == config.task
    assert recipe.summary
    assert recipe.data
    assert recipe.hardware
    assert bool(recipe.published) == bool(recipe.source)
    if recipe.published:
        assert "confirmed" in recipe.source or "quoted" in recipe.source


def test_name_and_summary_are_those_of_the_function():
    def small_thing(data):
        """Something small.

        More about it.
        """
        return RECIPES["classification"].make(data)

    recipe = Recipe(make=small_thing, data="anything", hardware="anything")
    assert (recipe.name, recipe.summary, recipe.task) == ("small-thing", "Something small.", "classification")


def test_unknown_recipes_name_the_nearest():
    with pytest.raises(ValueError, match=r"no recipe 'classificaton'; did you mean 'classification'"):
        find_recipe("classificaton")
    with pytest.raises(ValueError, match=r"no recipe 'xyzzy'; gcnet recipes lists all"):
        find_recipe("xyzzy")
