"""What a checkpoint holds beside weights, as plain values."""

from __future__ import annotations

import struct
from collections.abc import Container, Mapping
from typing import Any

from torch import Tensor

from gcnet.checkpoints.errors import CheckpointError
from gcnet.checkpoints.stand_ins import StandIn
from gcnet.checkpoints.tensor_record import TensorRecord

MAX_VALUES = 1_000_000
MAX_DEPTH = 100

_NUMBERS = {
    "f8": "d",
    "f4": "f",
    "f2": "e",
    "i8": "q",
    "i4": "i",
    "i2": "h",
    "i1": "b",
    "u1": "B",
    "u4": "I",
    "u8": "Q",
    "b1": "?",
}


class Plain:
    """Turns values into dicts with string keys, lists, strings, numbers and None; a tree, bounded in size.

    Args:
        left_out: identities of values to leave out of dictionaries.

    Example:
        >>> Plain().value({"epoch": 12, 3: (1, {2})})
        {'epoch': 12, '3': [1, [2]]}
    """

    def __init__(self, left_out: Container[int] = ()) -> None:
        self.left = MAX_VALUES
        self.left_out = left_out

    def value(self, value: Any, depth: int = 0) -> Any:
        """``value``, with a short text such as ``"<tensor>"`` for what has no plain form."""
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise CheckpointError(
                f"the metadata of the file is nested more than {MAX_DEPTH} deep, or holds more than {MAX_VALUES} values"
            )
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, Mapping):
            return {
                str(self.value(key, depth + 1)): self.value(item, depth + 1)
                for key, item in value.items()
                if id(item) not in self.left_out
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, StandIn):
            return self._stand_in(value, depth)
        if isinstance(value, Tensor | TensorRecord):
            return "<tensor>"
        return f"<{type(value).__name__}>"

    def _stand_in(self, value: StandIn, depth: int) -> Any:
        if value.name.endswith(".scalar"):
            return _number(value)
        if value.name.endswith("Path"):
            return "/".join(part for part in value.args if isinstance(part, str)).replace("//", "/")
        if value.items:
            return self.value(value.items, depth + 1)
        if value.values:
            return self.value(value.values, depth + 1)
        state = value.state if isinstance(value.state, tuple) else (value.state,)
        for part in (*value.args, *state):
            plain = self.value(part, depth + 1) if isinstance(part, Mapping | StandIn) else None
            if plain and isinstance(plain, dict):
                return plain
        if value.name.startswith("builtins.") and len(value.args) == 1 and isinstance(value.args[0], list | tuple):
            return self.value(value.args[0], depth + 1)
        return f"<{value.name}>"


def _number(scalar: StandIn) -> Any:
    """The number in a NumPy scalar; a placeholder if its type is not a plain number's."""
    placeholder = f"<{scalar.name}>"
    if len(scalar.args) != 2 or not isinstance(scalar.args[0], StandIn):
        return placeholder
    dtype, data = scalar.args
    if isinstance(dtype.state, tuple) and ">" in dtype.state:
        return placeholder
    code = dtype.args[0] if dtype.args and isinstance(dtype.args[0], str) else ""
    data = data.encode("latin1", "replace") if isinstance(data, str) else data
    form = _NUMBERS.get(code)
    if form is None or not isinstance(data, bytes) or len(data) != struct.calcsize(form):
        return placeholder
    return struct.unpack("<" + form, data)[0]
