"""Plain values as strict JSON, which knows no NaN: such numbers become words that databases cast to numbers."""

from __future__ import annotations

import json
import math
from typing import Any

NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: Any) -> str:
    """JSON of plain values; tuples become lists.

    Example:
        >>> to_json({"loss": float("nan"), "top1": 0.5})
        '{"loss": "NaN", "top1": 0.5}'
    """
    return json.dumps(_finite(value), allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """The inverse of :func:`to_json`; the three words always become numbers.

    Example:
        >>> from_json('{"loss": "NaN", "top1": 0.5}')
        {'loss': nan, 'top1': 0.5}
    """
    return _numbers(json.loads(text))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return NUMBERS.get(value, value) if isinstance(value, str) else value
