"""``gcnet train``, ``evaluate``, ``predict`` and ``demo``: a configuration, any field of which can be overridden."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

from gcnet.recipes.parsing import given, guarded, parse, take_option


def demo(argv: list[str]) -> int:
    """``gcnet demo --blocks none,gc --seeds 1``: train on context scenes, compare, write a report."""

    def run() -> None:
        from gcnet.recipes.context_scenes import context_scenes
        from gcnet.training.demo.comparison import run_demo

        run_demo(parse("gcnet demo", context_scenes(), argv))

    return guarded("gcnet demo", run)


def train(argv: list[str]) -> int:
    """``gcnet train RECIPE --data DIR --epochs 3``, or ``gcnet train --resume RUN``."""
    if not argv or argv[0] in ("-h", "--help"):
        print(
            "usage: gcnet train RECIPE [--data DIR] [--run DIR] [options]\n"
            "       gcnet train --resume RUN [options]\n\n"
            "recipes: gcnet recipes\noptions: gcnet train RECIPE --help\n\n"
            "--run DIR trains in that folder, or goes on there if it holds a run: the same command can be started\n"
            "again after any interruption. --resume RUN does the same with the configuration saved in the run."
        )
        raise SystemExit(0 if argv else 2)
    return guarded("gcnet train", lambda: _stopping("gcnet train", argv))


def _stopping(program: str, argv: list[str]) -> None:
    """Train; a stopped training is one line and exit status 1."""
    from gcnet.training.run import TrainingStopped

    try:
        _train(argv)
    except TrainingStopped as error:
        print(f"{program}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _train(argv: list[str]) -> None:
    import tyro

    from gcnet.recipes.table import find_recipe
    from gcnet.training.run import train as train_run
    from gcnet.training.run_folder import load_config

    resume, argv = take_option(argv, "--resume", "the folder of a run, such as runs/classification/001")
    run, argv = take_option(argv, "--run", "a folder")
    if resume and run:
        raise ValueError(f"--resume {resume} and --run {run}: give one of them")
    named = argv[0] if argv and not argv[0].startswith("-") else None
    options = argv[1:] if named else argv
    recipe = find_recipe(named) if named else None
    if resume:
        base: Any = load_config(Path(resume))
        if recipe is not None and type(recipe.make(Path())) is not type(base):
            raise ValueError(f"resume={resume}: is a run of {base.task}; leave {named!r} out")
    elif recipe is not None:
        scenes = Path("runs/scenes") / recipe.name if recipe.scenes else None
        base = recipe.make(scenes or tyro.MISSING)
    else:
        raise ValueError("give a recipe first (gcnet recipes lists them), or --resume RUN")
    config = parse(f"gcnet train {named or base.task}", without_alternatives(base, options), options)
    if recipe is not None and recipe.scenes and not resume and not given(options, "data"):
        _make_scenes(config, recipe.scenes)
    folder = resume or run
    train_run(config, Path(folder) if folder else None)


WHERE = ("stages", "blocks", "match")


def without_alternatives(config: Any, argv: list[str]) -> Any:
    """The defaults of a recipe without those that an option given replaces: match or stages, steps, another block's."""
    clear: dict[str, Any] = {}
    for name, other in (
        *((name, other) for name in WHERE for other in WHERE if name != other),
        ("warmup", "warmup_steps"),
        ("warmup_steps", "warmup"),
    ):
        if given(argv, name) and not given(argv, other):
            clear[other] = type(getattr(config, other))()
    block = take_option(argv, "--block", "the name of a block")[0]
    if block not in (None, config.block):
        clear |= {"ratio": None, "block_options": ()}  # of the recipe's block; the options below say what this one has
    if given(argv, "schedule") and not given(argv, "milestones"):
        clear |= {"milestones": (), "schedule": "cosine"}
    changed = copy.copy(config)  # not valid by itself, until the options are in their places
    for name, value in clear.items():
        object.__setattr__(changed, name, value)
    return changed


def _make_scenes(config: Any, settings: Any) -> None:
    """Write the scenes a recipe is about, unless they are there; other processes wait for the first."""
    import time

    from gcnet.training.distributed import is_first
    from gcnet.training.scenes.make import make_scenes

    if is_first():
        make_scenes(config.task, config.data, settings, reuse=True)
    while not (config.data / "meta.json").exists():
        time.sleep(0.5)


def evaluate(argv: list[str]) -> int:
    """``gcnet evaluate RUN [--data DIR] [--checkpoint last]``: score a trained network again."""

    def run(argv: list[str] = argv) -> None:
        from gcnet.training.evaluate import evaluate as evaluate_run
        from gcnet.training.run_folder import load_config

        checkpoint, argv = take_option(argv, "--checkpoint", "best or last")
        folder = Path(argv[0])
        config = parse(f"gcnet evaluate {folder}", load_config(folder), argv[1:])
        evaluate_run(folder, config, checkpoint or "best")

    return _with_run("evaluate", "[--data DIR] [--checkpoint best|last]", argv, run)


def predict(argv: list[str]) -> int:
    """``gcnet predict RUN INPUT... [--out DIR]``: use a trained network on files."""

    def run(argv: list[str] = argv) -> None:
        from gcnet.training.evaluate import predict as predict_run
        from gcnet.training.run_folder import load_config

        checkpoint, argv = take_option(argv, "--checkpoint", "best or last")
        out, argv = take_option(argv, "--out", "a folder")
        first = next((at for at, argument in enumerate(argv) if argument.startswith("-")), len(argv))
        folder, inputs = Path(argv[0]), [Path(word) for word in argv[1:first]]
        config = parse(f"gcnet predict {folder} INPUT...", load_config(folder), argv[first:])
        predict_run(folder, config, inputs, Path(out) if out else None, checkpoint or "best")

    return _with_run("predict", "INPUT... [--out DIR] [--checkpoint best|last]", argv, run)


def _with_run(verb: str, arguments: str, argv: list[str], run: Any) -> int:
    if not argv or argv[0].startswith("-"):
        print(f"usage: gcnet {verb} RUN {arguments} [options]\n\noptions: gcnet {verb} RUN --help")
        raise SystemExit(0 if argv and argv[0] in ("-h", "--help") else 2)
    return guarded(f"gcnet {verb}", run)
