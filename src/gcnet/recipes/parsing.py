"""What the verbs that take a configuration share: any field as an option, errors as one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from importlib import import_module
from typing import Any, get_args, get_origin

_COMMA = r",(?![^()]*\))"  # but not one in brackets


def parse(program: str, default: Any, argv: list[str], note: str = "") -> Any:
    """``default`` with the fields that ``argv`` names replaced: tuples as ``a,b,c``, numbers also as ``1/16``.

    Args:
        program: for the usage line.
        default: a dataclass; fields that are ``tyro.MISSING`` have to be given.
        argv: the options.
        note: a sentence for the help text.
    """
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
    def sequence(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[Any, ...]] | None:
        kind = next((kind for kind in (str, int) if get_args(info.type) == (kind, ...)), None)
        if get_origin(info.type) is not tuple or kind is None:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="A,B,...",
            instance_from_str=lambda words: tuple(kind(word) for word in re.split(_COMMA, words[0]) if word),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda value: [",".join(map(str, value))],
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


def take_option(argv: list[str], name: str, what: str) -> tuple[str | None, list[str]]:
    """The value of an option that is no field, None if it is not there, and the arguments without it.

    Args:
        argv: arguments.
        name: of the option, such as ``--run``.
        what: it takes, for the error of one without a value.

    Example:
        >>> take_option(["scenes", "--run", "a", "--epochs=2"], "--run", "a folder")
        ('a', ['scenes', '--epochs=2'])
    """
    for index, argument in enumerate(argv):
        if argument == name:
            if index + 1 == len(argv):
                raise ValueError(f"{name} needs {what}")
            return argv[index + 1], argv[:index] + argv[index + 2 :]
        if argument.startswith(name + "="):
            return argument.partition("=")[2], argv[:index] + argv[index + 1 :]
    return None, argv


def given(argv: list[str], field: str) -> bool:
    """Whether an option for ``field`` is among the arguments.

    Example:
        >>> given(["--batch-size", "4"], "batch_size"), given(["--batch_size=4"], "batch_size"), given([], "lr")
        (True, True, False)
    """
    names = {f"--{field}", f"--{field.replace('_', '-')}"}
    return any(argument.partition("=")[0] in names for argument in argv)


def guarded(program: str, run: Callable[[], None], extras: Mapping[str, str] | None = None) -> int:
    """Exit status of ``run``: a user's mistake becomes one line, Ctrl-C a clear message. The parser ends by itself.

    Args:
        program: for messages.
        run: takes nothing.
        extras: package -> extra that it is in; others are in ``train``.
    """
    try:
        import_module("tyro")  # which reads the options, after what they refer to
        run()
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Stopped.'}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = (extras or {}).get(package, "train")
        print(f'{program} needs {package!r}: pip install "gcnet[{extra}]"', file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print("; ".join([f"{program}: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 2
    return 0


def _number(text: str) -> float:
    try:
        return float(Fraction(text))
    except ZeroDivisionError:
        raise ValueError(f"{text} divides by zero") from None
