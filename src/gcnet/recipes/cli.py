"""``gcnet train`` and ``gcnet demo``: a recipe, any field of which can be overridden."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args, get_origin

from gcnet.blocks.base import check_choice


def demo(argv: list[str]) -> int:
    """``gcnet demo --blocks none,gc --seeds 1``: train on context scenes, compare, write a report."""

    def run() -> None:
        from gcnet.recipes.context_scenes import context_scenes
        from gcnet.training.demo.comparison import run_demo

        run_demo(_parse("gcnet demo", context_scenes(), argv))

    return _guarded("gcnet demo", run)


def train(argv: list[str]) -> int:
    """``gcnet train classification --data DIR --epochs 3``, or ``--resume RUN``."""
    tasks = {"classification": _classification}
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: gcnet train TASK [options]\n\ntasks: {', '.join(tasks)}\n\noptions: gcnet train TASK --help")
        raise SystemExit(0 if argv else 2)

    def run() -> None:
        check_choice("task", argv[0], tasks)
        tasks[argv[0]](argv[1:])

    return _guarded("gcnet train", run)


def _classification(argv: list[str]) -> None:
    import tyro

    from gcnet.recipes.classification import classification
    from gcnet.training.classification.run_old import ClassificationConfig, run_classification

    resume, argv = _take_option(argv, "--resume")
    base = ClassificationConfig.load(Path(resume)) if resume else classification(tyro.MISSING)
    note = "With --resume RUN, a run goes on from its last finished epoch, in its own folder and with its own settings."
    run_classification(_parse("gcnet train classification", base, argv, note), Path(resume) if resume else None)


def _take_option(argv: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of an option that decides on the defaults of the others, and the arguments without it."""
    for index, argument in enumerate(argv):
        if argument == name:
            if index + 1 == len(argv):
                raise ValueError(f"{name} needs the folder of a run, such as runs/classification/001")
            return argv[index + 1], argv[:index] + argv[index + 2 :]
        if argument.startswith(name + "="):
            return argument.partition("=")[2], argv[:index] + argv[index + 1 :]
    return None, argv


def _parse(program: str, default: Any, argv: list[str], note: str = "") -> Any:
    """``default`` with the fields that ``argv`` names replaced: tuples as ``a,b,c``, numbers also as ``1/16``."""
    import tyro
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[float] | None:
        if info.type is not float:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="NUMBER",
            instance_from_str=lambda words: _number(words[0]),
            is_instance=lambda value: isinstance(value, int | float),
            str_from_instance=lambda value: [f"{value:g}"],
        )

    @registry.primitive_rule
    def names(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[str, ...]] | None:
        if (get_origin(info.type), get_args(info.type)) != (tuple, (str, ...)):
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="A,B,...",
            instance_from_str=lambda words: tuple(filter(None, words[0].split(","))),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda value: [",".join(value)],
        )

    doc = (type(default).__doc__ or "").partition("\n")[0]
    return tyro.cli(
        type(default),
        prog=program,
        description=f"{doc} {note}".strip(),
        args=argv,
        default=default,
        registry=registry,
        config=(tyro.conf.FlagConversionOff,),
    )


def _number(text: str) -> float:
    try:
        return float(Fraction(text))
    except ZeroDivisionError:
        raise ValueError(f"{text} divides by zero") from None


def _guarded(program: str, run: Callable[[], None]) -> int:
    """Exit status of ``run``: a user's mistake becomes one line, Ctrl-C a clear message. The parser ends by itself."""
    try:
        run()
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Stopped.'}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f'{program} needs {error.name!r}: pip install "gcnet[train]"', file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"{program}: {_last_line(error)}", file=sys.stderr)
        return 2
    return 0


def _last_line(error: Exception) -> str:
    """The message; of an error in a process that loads data, the part after its traceback."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    return text.strip().splitlines()[-1].partition(": ")[2]
