"""All recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcnet.training.config import TrainingConfig
    from gcnet.training.scenes.compose import SceneSettings

#: The files that hold recipes, in the order in which they are listed.
FILES = (
    *("classification", "scenes_classification", "imagenet"),
    *("detection", "scenes_detection", "coco"),
    *("segmentation", "scenes_segmentation", "cityscapes"),
    *("video", "scenes_video", "kinetics"),
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A function that returns a configuration, and what a reader wants to know before running it.

    Attributes:
        make: from the path of the data to the configuration.
        name: as the command line has it; by default that of the function.
        summary: one line about what is trained; by default that of the function's docstring.
        data: what the path has to be, such as "COCO 2017".
        published: figures to aim at; empty if there are none.
        source: where they stand, and whether they were read there (confirmed) or quoted from memory.
        hardware: what the batch size is meant for.
        scenes: context scenes to make when no data is given; None if data has to be given.
    """

    make: Callable[[Path], TrainingConfig]
    name: str = ""
    summary: str = ""
    data: str
    published: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    hardware: str
    scenes: SceneSettings | None = None

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.make.__name__.replace("_", "-"))
        if not self.summary:
            object.__setattr__(self, "summary", (self.make.__doc__ or "").partition("\n")[0])

    @property
    def task(self) -> str:
        """Task of the configuration."""
        return self.make(Path()).task


def recipes() -> dict[str, Recipe]:
    """Every recipe by its name, in the order of the tasks, those for small machines first.

    Example:
        >>> "classification" in recipes()
        True
    """
    modules = [import_module(f"gcnet.recipes.{name}") for name in FILES]
    return {recipe.name: recipe for module in modules for recipe in module.RECIPES}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none, with the nearest.
    """
    known = recipes()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ValueError(f"there is no recipe {name!r}; {hint}gcnet recipes lists all")
    return known[name]
