"""Block specifications as plain values for JSON, and the checks of plain values that come from a file."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from math import isfinite
from typing import Any, Union, get_args, get_origin, get_type_hints

from gcnet import blocks
from gcnet.blocks.base import SITE_ARGUMENTS, Block, BlockSpec, check_choice

#: Class name -> class of every block that a file may ask for.
BY_NAME: dict[str, type[Block]] = {
    name: value
    for name in blocks.__all__
    if isinstance(value := getattr(blocks, name), type) and issubclass(value, Block) and value is not Block
}

#: Largest integer a file may hold, and those of options that count modules: a few bytes shall not build for hours.
LARGEST = 2**20
_LARGEST = {"branches": 64, "depths": 1024}
_LONGEST = 4096


def spec_to_dict(spec: BlockSpec) -> dict[str, Any]:
    """A specification as plain values for JSON.

    Raises:
        ValueError: a block that is not one of ours, or an option that is no plain value.

    Example:
        >>> from gcnet import SqueezeExcite
        >>> spec_to_dict(SqueezeExcite.spec(ratio=1/4))
        {'block': 'SqueezeExcite', 'options': {'ratio': 0.25, 'init': 'identity', 'gate': 'centred'}}
    """
    name = spec.block.__name__
    if BY_NAME.get(name) is not spec.block:
        raise ValueError(f"{spec.block.__module__}.{name} is not a block of gcnet ({', '.join(BY_NAME)})")
    return {"block": name, "options": {option: _to_plain(option, value) for option, value in spec.options.items()}}


def spec_from_dict(values: Any) -> BlockSpec:
    """The specification in what :func:`spec_to_dict` wrote; nothing but our blocks is ever looked up.

    Raises:
        ValueError: anything else, with the nearest name that would do.

    Example:
        >>> spec_from_dict({"block": "SqueezeExcite", "options": {"ratio": 0.25}})
        SqueezeExcite.spec(ratio=1/4, init='identity', gate='centred')
    """
    name, options = fields("block specification", values, block=str, options=dict)
    check_choice("block", name, BY_NAME)
    options = {option: Fraction(value) if _is_fraction(value) else value for option, value in options.items()}
    try:
        return BlockSpec(BY_NAME[name], arguments(name, hints_of(BY_NAME[name], SITE_ARGUMENTS), options))
    except TypeError as error:
        raise ValueError(str(error)) from error


def fields(what: str, values: Any, **kinds: Any) -> tuple[Any, ...]:
    """The values of a mapping that has exactly the keys ``kinds``, of those types.

    Raises:
        ValueError: no mapping, keys too few or too many, or a value of another type.
    """
    if not isinstance(values, Mapping) or values.keys() != kinds.keys():
        found = f"has {', '.join(map(repr, values))}" if isinstance(values, Mapping) else f"is {_short(values)}"
        raise ValueError(f"a {what} has the entries {', '.join(kinds)}; this one {found}")
    for name, kind in kinds.items():
        if not isinstance(values[name], kind) or (isinstance(values[name], bool) and kind is not bool):
            raise ValueError(f"{name}={_short(values[name])} of a {what} is no {getattr(kind, '__name__', kind)}")
        check_bounds(name, values[name])
    return tuple(values[name] for name in kinds)


def arguments(name: str, hints: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of ``name`` from a file, lists as tuples.

    Args:
        name: what takes the options, for messages.
        hints: option -> type that it has, such as ``int | None``; see :func:`hints_of`.
        options: the options given.

    Raises:
        ValueError: an unknown option, with the nearest; a value of another type; a number, text or list beyond all
            reason.
    """
    checked = {}
    for option, value in options.items():
        if option not in hints:
            near = difflib.get_close_matches(str(option), hints, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name} has no option {option!r}{hint} Options: {', '.join(hints)}")
        checked[option] = _tuples(value)
        check_bounds(option, checked[option])
        if not _fits(checked[option], hints[option]):
            wanted = hints[option]
            kind = wanted.__name__ if isinstance(wanted, type) and not get_args(wanted) else wanted
            raise ValueError(f"{option}={_short(value)} of {name} is no {kind}")
    return checked


def hints_of(function: Callable[..., Any], left_out: Collection[str] = ()) -> dict[str, Any]:
    """Option -> type, of a function or the constructor of a class, without the names in ``left_out``."""
    hints = get_type_hints(getattr(function, "__init__") if isinstance(function, type) else function)  # noqa: B009
    return {name: hints[name] for name in inspect.signature(function).parameters if name not in left_out}


def check_bounds(name: str, value: Any) -> None:
    """Raise ValueError for a number, text or list from a file that is too large to be meant, or a negative integer."""
    if isinstance(value, (list, tuple, str)) and len(value) > _LONGEST:
        raise ValueError(f"{name} has {len(value)} entries, more than {_LONGEST}")
    if isinstance(value, (list, tuple)):
        for entry in value:
            check_bounds(name, entry)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{name}={value} is not finite")
    elif isinstance(value, (int, float, Fraction)):
        most = _LARGEST.get(name, LARGEST)
        if not -most <= value <= most:
            raise ValueError(f"{name}={_short(value)} is beyond {most:,}")
        if isinstance(value, int) and value < 0:
            raise ValueError(f"{name}={value} is negative")


def _to_plain(option: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_plain(option, entry) for entry in value]
    if isinstance(value, Fraction):
        return str(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError(f"{option}={value!r} cannot be written to a file: it is a {type(value).__name__}")


def _is_fraction(value: Any) -> bool:
    numbers = value.split("/") if isinstance(value, str) and len(value) < 32 else ()
    return len(numbers) == 2 and all(number.isdecimal() and number.strip("0") for number in numbers)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of the annotated type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin in (tuple, Iterable, Sequence):
        return isinstance(value, tuple) and all(_fits(entry, inner[0]) for entry in value)
    if hint is float:
        return type(value) in (int, float, Fraction)
    return type(value) is hint


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
    return text if len(text) < 80 else f"{text[:76]} ..."
