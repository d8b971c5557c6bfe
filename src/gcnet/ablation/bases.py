"""What all variants of a table share: a plain network and how it is trained, for each task."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from gcnet.ablation.table import without_block
from gcnet.recipes.scenes_classification import scenes_classification
from gcnet.recipes.scenes_detection import scenes_detection
from gcnet.recipes.scenes_segmentation import scenes_segmentation
from gcnet.recipes.scenes_video import scenes_video
from gcnet.recipes.table import find_recipe
from gcnet.training.config import TrainingConfig
from gcnet.training.images import MEAN, STD
from gcnet.training.scenes.classification import ClassificationScenes
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.scenes.detection import DetectionScenes
from gcnet.training.scenes.video import VideoScenes

#: A bottleneck ResNet whose c3 is wide enough for every ratio of the paper.
SMALL = "gcnet:resnet20_w16"


class Base(NamedTuple):
    """The plain configuration, and scenes to make for it; None where data has to be given."""

    config: TrainingConfig
    scenes: SceneSettings | None


def base_of(task: str, *, data: Path | None = None, recipe: str | None = None) -> Base:
    """The base of a task: small networks on made scenes, or a recipe on the data of a user.

    Args:
        task: classification, detection, segmentation or video.
        data: of the user; None for scenes.
        recipe: its name; None for the small network of the scenes without ``data``, and with it for the recipe that is
            called like the task.

    Raises:
        ValueError: an unknown recipe, or one of another task; a recipe that needs data without ``data``.

    Example:
        >>> base_of("classification").config.backbone
        'gcnet:resnet20_w16'
        >>> base_of("classification", data=Path("photos")).config.backbone
        'resnet18'
    """
    if data is None and recipe is None:
        config, scenes = SCENES[task]
        return Base(without_block(config(Path("runs/scenes") / f"ablation-{task}")), scenes)
    found = find_recipe(recipe or task)
    if found.task != task:
        raise ValueError(f"recipe={recipe!r} is for {found.task}, not for {task}")
    if data is None and found.scenes is None:
        raise ValueError(f"recipe={recipe!r} needs data: give --data DIR ({found.data})")
    where = data or Path("runs/scenes") / found.name
    return Base(without_block(found.make(where)), found.scenes if data is None else None)


def _small(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    return dataclasses.replace(without_block(config), workers=0, **changes)


def _classification(data: Path) -> TrainingConfig:
    return _small(scenes_classification(data), backbone=SMALL)


def _detection(data: Path) -> TrainingConfig:
    return _small(scenes_detection(data), backbone=SMALL)


def _segmentation(data: Path) -> TrainingConfig:
    return _small(scenes_segmentation(data), backbone=SMALL, head="fcn", mean=MEAN, std=STD, epochs=6, lr=2e-3)


def _video(data: Path) -> TrainingConfig:
    return _small(scenes_video(data), backbone="slow_only_r20_w16")


#: Digits differ less than in the recipes of the scenes, so that a plain network does not solve it all.
SCENES: dict[str, tuple[Any, SceneSettings]] = {
    "classification": (_classification, ClassificationScenes(train=1000, val=500, offset=0.05, digits=10)),
    "detection": (_detection, DetectionScenes(train=500, val=100, size=64, digits=8)),
    "segmentation": (_segmentation, SceneSettings(train=500, val=100)),
    "video": (_video, VideoScenes(train=600, val=200)),
}
