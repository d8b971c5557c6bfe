"""Values out of a table file as the fields of a configuration take them."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from gcnet.training.config import TrainingConfig

_COMMA = re.compile(r",(?![^()]*\))")  # but not one in brackets


def field_values(kind: type[TrainingConfig], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fields of a task's configuration with the types it wants.

    Tuples may be lists or text as on the command line, such as ``c3,c4``; numbers may be fractions, such as ``1/16``;
    None may be text; the options of a block may be a mapping.

    Args:
        kind: class of the configuration.
        values: by name of the field.
        where: they stand, for errors.

    Raises:
        ValueError: a field that the task does not have, with the nearest; a value that does not fit.

    Example:
        >>> from gcnet.training.classification.config import ClassificationConfig
        >>> field_values(ClassificationConfig, {"ratio": "1/4", "stages": ["c4"], "blocks": "c4:-2"}, "mine.yaml")
        {'ratio': 0.25, 'stages': ('c4',), 'blocks': ('c4:-2',)}
    """
    hints = get_type_hints(kind)
    known = [entry.name for entry in dataclasses.fields(kind)]
    found = {}
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{where}: {kind.task} has no field {name!r}{hint}")
        try:
            adapter = TypeAdapter(hints[name], config=ConfigDict(coerce_numbers_to_str=False))
            found[name] = adapter.validate_python(_prepared(name, value, str(hints[name])))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{where}: {name}={value!r}: {first['msg'].lower()}") from error
        except ZeroDivisionError:
            raise ValueError(f"{where}: {name}={value!r} divides by zero") from None
    return found


def _prepared(name: str, value: Any, hint: str) -> Any:
    if name == "block_options" and isinstance(value, Mapping):
        return tuple(f"{option}={_option(each)}" for option, each in value.items())
    if value == "None" and "None" in hint:
        return None
    if isinstance(value, str) and hint.startswith("tuple"):
        value = [part.strip() for part in _COMMA.split(value) if part.strip()]
    if isinstance(value, list | tuple) and "float" in hint:
        return [_prepared(name, part, "float") for part in value]
    if isinstance(value, str) and "float" in hint and re.fullmatch(r"\s*\d+\s*/\s*\d+\s*", value):
        return float(Fraction(value.replace(" ", "")))
    return value


def _option(value: Any) -> str:
    """As ``parse_options`` reads it back: text as it is, all else as Python writes it."""
    return value if isinstance(value, str) else repr(tuple(value) if isinstance(value, list) else value)
