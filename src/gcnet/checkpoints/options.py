"""Options of a conversion: what tensors do not tell, from the user, the file's configuration, or assumed."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from gcnet.blocks.base import SITE_ARGUMENTS, Block, check_choice
from gcnet.insertion.families import POSITIONS
from gcnet.models.mmdetection import CONVENTIONS

_CHOICES = {
    "style": ("pytorch", "caffe"),
    "position": POSITIONS,
    "dilations": ("1",),
    "time_stride": ("1",),
    "conventions": CONVENTIONS,
}


class Options:
    """Options given by the user and by the configuration in a file, and which of them were of any use.

    Args:
        given: by the user; each must be of use to something.
        configured: read off the file; may be of no use.
    """

    def __init__(self, given: Mapping[str, Any], configured: Mapping[str, str]) -> None:
        self.given, self.configured = dict(given), dict(configured)
        self.assumed: dict[str, Any] = {}
        self._values: dict[str, list[Any]] = {}
        self._used: set[str] = set()
        self._known = set(_CHOICES)
        for name in self.given.keys() & _CHOICES.keys():
            check_choice(name, str(self.given[name]), _CHOICES[name])

    def take(self, name: str, default: str, *, doubtful: bool = True) -> str:
        """The value of an option of the network; noted as assumed if it is ``doubtful`` and nobody gave it."""
        self._used.add(name)
        told = self.told(name)
        if told is None and doubtful:
            self.assume(name, default)
        return default if told is None else told

    def told(self, name: str) -> str | None:
        """The value of an option of the network if anybody gave it, the user before the configuration."""
        return str(self.given[name]) if name in self.given else self.configured.get(name)

    def assume(self, name: str, value: Any) -> None:
        """Note a value that was taken without being told; different ones side by side."""
        values = self._values.setdefault(name, [])
        if value not in values:
            values.append(value)
        self.assumed[name] = value if len(values) == 1 else tuple(values)

    def of_block(self, block: type[Block]) -> dict[str, Any]:
        """The given options that ``block`` has."""
        known = inspect.signature(block).parameters.keys() - set(SITE_ARGUMENTS)
        self._known |= known
        taken = {name: value for name, value in self.given.items() if name in known}
        self._used |= taken.keys()
        return taken

    def check_used(self) -> None:
        """Raise ValueError for a given option that was of no use."""
        for name in self.given:
            if name not in self._used:
                near = difflib.get_close_matches(name, self._known, n=1)
                hint = f", did you mean {near[0]!r}?" if near and near[0] != name else ""
                raise ValueError(f"option {name}={self.given[name]!r} is of no use to anything in this file{hint}")
