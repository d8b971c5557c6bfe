"""All recipes by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcnet.blocks.base import check_choice

if TYPE_CHECKING:
    from gcnet.training.config import TrainingConfig
    from gcnet.training.scenes.compose import SceneSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A function that returns a configuration, and what a reader wants to know before running it.

    Attributes:
        make: from the path of the data to the configuration; its docstring says what is trained.
        data: what the path has to be, such as "COCO 2017".
        published: figures to aim at and where they stand; empty if there are none.
        hardware: what the batch size is meant for.
        scenes: context scenes to make when no data is given; None if data has to be given.
    """

    make: Callable[[Path], TrainingConfig]
    data: str
    published: str = ""
    hardware: str
    scenes: SceneSettings | None = None

    @property
    def name(self) -> str:
        """As the command line has it."""
        return self.make.__name__.replace("_", "-")

    @property
    def summary(self) -> str:
        """One line about what is trained."""
        return (self.make.__doc__ or "").partition("\n")[0]


def recipes() -> dict[str, Recipe]:
    """Every recipe by its name, in the order of the tasks.

    Example:
        >>> "classification" in recipes()
        True
    """
    from gcnet.recipes import classification, kinetics, video

    modules: tuple[Any, ...] = (classification, video, kinetics)
    return {recipe.name: recipe for module in modules for recipe in module.RECIPES}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none, with the nearest.
    """
    known = recipes()
    check_choice("recipe", name, known)
    return known[name]
