"""``gcnet data``: make data from nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro  # noqa: F401 (so that a missing extra is named before anything else)

from gcnet.recipes.parsing import given, guarded, parse, take_option

_USAGE = """usage: gcnet data make scenes --task TASK [--images N] [--val N] [--seed S] [--out DIR] [options]

make scenes  context scenes for classification, detection, segmentation or video, the same for the same seed

options: gcnet data make scenes --task TASK --help"""


def data(argv: list[str]) -> int:
    """``gcnet data make scenes --task detection --images 2000 --out DIR``."""
    if argv[:2] == ["make", "scenes"]:
        return guarded("gcnet data make scenes", lambda: _make_scenes(argv[2:]))
    print(_USAGE)
    raise SystemExit(0 if argv and argv[0] in ("-h", "--help") else 2)


def _make_scenes(argv: list[str]) -> None:
    from gcnet.blocks.base import check_choice
    from gcnet.training.scenes.make import SCENE_TASKS, make_scenes

    task, argv = take_option(argv, "--task", "a task, such as detection")
    out, argv = take_option(argv, "--out", "a folder")
    images, argv = take_option(argv, "--images", "a number")
    if task is None:
        raise ValueError(f"give --task: {', '.join(SCENE_TASKS)}")
    check_choice("task", task, SCENE_TASKS)
    if images is not None:
        if given(argv, "train"):
            raise ValueError(f"--images {images} and --train are the same: give one of them")
        argv = ["--train", images, *argv]
    note = "--images N is --train N; a quarter of it validates unless --val is given."
    settings = parse(f"gcnet data make scenes --task {task} --out DIR", SCENE_TASKS[task].settings(), argv, note)
    if not given(argv, "val"):
        settings = dataclasses.replace(settings, val=max(1, settings.train // 4))
    folder = make_scenes(task, Path(out) if out else Path("scenes") / task, settings)
    print(f"Wrote {settings.train} training and {settings.val} validation scenes for {task} to {folder}")
