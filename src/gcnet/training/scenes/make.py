"""Folders of context scenes for each task, that appear whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm  # type: ignore[import-untyped]

from gcnet.blocks.base import check_choice
from gcnet.training.scenes import classification, detection, segmentation, video
from gcnet.training.scenes.compose import CLASS_NAMES, SceneSettings


class SceneTask(NamedTuple):
    """The settings of a task's scenes, what writes them, and the names of the classes."""

    settings: type[SceneSettings]
    write: Callable[[Path, Any], Iterator[Path]]
    classes: tuple[str, ...]


SCENE_TASKS = {
    "classification": SceneTask(
        classification.ClassificationScenes, classification.write_classification, classification.CLASSES
    ),
    "detection": SceneTask(detection.DetectionScenes, detection.write_detection, CLASS_NAMES[1:]),
    "segmentation": SceneTask(SceneSettings, segmentation.write_segmentation, CLASS_NAMES),
    "video": SceneTask(video.VideoScenes, video.write_video, tuple(video.DIRECTIONS)),
}


def make_scenes(task: str, out: Path, settings: SceneSettings, *, reuse: bool = False) -> Path:
    """Write the scenes of a task with their ``meta.json``: names of the classes, task and settings.

    Args:
        task: classification (a folder per class), detection (COCO's format), segmentation (image and mask pairs) or
            video (a folder of clips per class).
        out: folder to make; everything above it is made too.
        settings: of the task's own type in ``SCENE_TASKS``.
        reuse: keep ``out`` if it holds scenes of the same task and settings.

    Returns:
        ``out``.

    Raises:
        ValueError: an unknown task, settings of another task, or scenes of other settings where ``reuse`` is given.
        FileExistsError: ``out`` is not empty.

    Example:
        >>> out = make_scenes("segmentation", getfixture("tmp_path") / "scenes", SceneSettings(train=3, val=2))
        >>> sorted(path.name for path in out.iterdir())
        ['meta.json', 'train', 'val']
    """
    check_choice("task", task, SCENE_TASKS)
    kind, write, classes = SCENE_TASKS[task]
    if type(settings) is not kind:
        raise ValueError(f"settings are {type(settings).__name__}, but scenes for {task} need {kind.__name__}")
    meta = {"classes": classes, "settings": dataclasses.asdict(settings), "task": task}
    text = json.dumps(meta, indent=2) + "\n"
    if reuse and (out / "meta.json").is_file():
        if (out / "meta.json").read_text() != text:
            raise ValueError(
                f"{out}: holds scenes of other settings, see {out / 'meta.json'}; remove it, or give another folder"
            )
        return out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out}: is there already; remove it, or give another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent, ignore_cleanup_errors=True) as partial:
        folder = Path(partial) / out.name
        folder.mkdir()
        with tqdm(total=settings.train + settings.val, desc="Making scenes", unit="scene", delay=1) as bar:
            for _ in write(folder, settings):
                bar.update()
        (folder / "meta.json").write_text(text)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    return out
