"""Block specifications as plain values for JSON, and the checks of plain values that come from a file."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
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
_LONGEST = 256


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
        return BlockSpec(BY_NAME[name], arguments(BY_NAME[name], options, left_out=SITE_ARGUMENTS))
    except TypeError as error:
        raise ValueError(str(error)) from error


def fields(what: str, values: Any, **kinds: type | types.UnionType) -> tuple[Any, ...]:
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


def arguments(function: Callable[..., Any], options: Mapping[str, Any], left_out: Iterable[str] = ()) -> dict[str, Any]:
    """``options`` from a file as keyword arguments of ``function``, lists as tuples.

    Raises:
        ValueError: an option that it does not have or that is in ``left_out``, with the nearest; a value that does
            not fit its annotation; a number, text or list beyond all reason.
    """
    name = getattr(function, "__name__", str(function))
    known = [option for option in inspect.signature(function).parameters if option not in left_out]
    hints = get_type_hints(function.__init__ if isinstance(function, type) else function)
    checked = {}
    for option, value in options.items():
        if option not in known:
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{name} has no option {option!r}{hint} Options: {', '.join(known)}")
        checked[option] = _tuples(value)
        check_bounds(option, checked[option])
        if not _fits(checked[option], hints[option]):
            raise ValueError(f"{option}={_short(value)} of {name} is no {_describe(hints[option])}")
    return checked


def check_bounds(name: str, value: Any) -> None:
    """Raise ValueError for a number, text or list from a file that is too large to be meant."""
    if isinstance(value, (list, tuple, str)) and len(value) > _LONGEST:
        raise ValueError(f"{name} has {len(value)} entries, more than {_LONGEST}")
    if isinstance(value, (list, tuple)):
        for entry in value:
            check_bounds(name, entry)
    elif isinstance(value, (int, Fraction)) and not abs(value) <= _LARGEST.get(name, LARGEST):
        raise ValueError(f"{name}={_short(value)} is beyond {_LARGEST.get(name, LARGEST):,}")
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{name}={value} is not finite")


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
        several = origin is not tuple or inner[1:] == (...,)
        kinds = (inner[0],) * len(value) if several and isinstance(value, tuple) else inner
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hint is float:
        return type(value) in (int, float, Fraction)
    return type(value) is hint


def _describe(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint)) if not get_args(hint) else str(hint)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a huge number"
    return text if len(text) < 80 else f"{text[:76]} ..."
