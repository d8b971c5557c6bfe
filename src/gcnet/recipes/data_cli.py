"""``gcnet data``: make data from nothing, and check data before it is trained on."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gcnet.recipes.parsing import given, guarded, parse, take_option

_USAGE = """usage: gcnet data make scenes --task TASK [--images N] [--val N] [--seed S] [--out DIR] [options]
       gcnet data check DIR [--task TASK] [--workers N] [--json]

make scenes  context scenes for classification, detection, segmentation or video, the same for the same seed
check        read every file of a data set and list what is wrong with it

options: gcnet data make scenes --task TASK --help; gcnet data check --help"""


@dataclass(frozen=True)
class CheckArguments:
    """Read every file of a data set and list what is wrong with it.

    Exit status: 0 if there are no errors (there may be warnings), 1 if there are, 2 if it could not be checked.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """With a folder of images or videos per class, COCO's annotations/*.json, images/ and masks/, or shards."""
    task: str = ""
    """classification, detection, segmentation or video. By default what the folder looks like."""
    workers: int = 0
    """Files read at the same time. By default as many as there are processors."""
    json: bool = False
    """Print everything as JSON instead of a table with the first few problems of each kind."""


def data(argv: list[str]) -> int:
    """``gcnet data make scenes --task detection --images 2000 --out DIR``, ``gcnet data check DIR``.

    Returns:
        0; 1 if the data checked has errors; 2 after a mistake in the arguments.
    """
    if argv[:2] == ["make", "scenes"]:
        return guarded("gcnet data make scenes", lambda: _make_scenes(argv[2:]))
    if argv[:1] == ["check"]:
        return _check(argv[1:])
    asked = any(argument in ("-h", "--help") for argument in argv)
    if argv and not asked:
        print(f"gcnet data: {' '.join(argv[:2])!r} is neither 'make scenes' nor 'check DIR'\n", file=sys.stderr)
    print(_USAGE)
    raise SystemExit(0 if asked else 2)


def _make_scenes(argv: list[str]) -> None:
    from gcnet.blocks.base import check_choice
    from gcnet.training.scenes.make import SCENE_TASKS, make_scenes

    task, argv = take_option(argv, "--task", "a task, such as detection")
    out, argv = take_option(argv, "--out", "a folder")
    images, argv = take_option(argv, "--images", "a number")
    if task is None and ("-h" in argv or "--help" in argv):
        print(_USAGE)
        raise SystemExit(0)
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


def _check(argv: list[str]) -> int:
    found = []

    def run() -> None:
        from gcnet.training.data_check.check import check_data

        arguments = tyro.cli(CheckArguments, args=argv, prog="gcnet data check", config=(tyro.conf.FlagCreatePairsOff,))
        report = check_data(arguments.folder, arguments.task or None, arguments.workers or None)
        print(json.dumps(report.as_json(), indent=2) if arguments.json else report.text())
        found.extend(report.errors)

    return guarded("gcnet data check", run) or int(bool(found))
