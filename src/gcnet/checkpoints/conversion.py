"""What a conversion did to every tensor, printable."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from gcnet.analysis.table import format_table
from gcnet.checkpoints.architecture import Architecture
from gcnet.layouts.table import Key

_SHOWN = 12


@dataclass(frozen=True)
class Conversion:
    """A state dict in another layout, and what became of every key.

    Attributes:
        tensors: the result; tensors that are not transformed share their memory with the source.
        architecture: host and blocks.
        source: name of the layout that was read.
        target: name of the layout that was written.
        mapped: their key -> key in ``tensors``, transformed ones included.
        transformed: key in ``tensors`` -> what was done to its values or shape.
        unused: keys of the source without a place.
        missing: keys that the network has and the source has not.
        filled: keys made here because old files lack them: the counters of batch norms.
        assumed: options that tensors do not tell -> value taken.
        needs: path of a block there, ``"backbone"`` or ``"detector"`` -> what it must be built with there, which
            tensors do not tell.
    """

    tensors: dict[str, Tensor]
    architecture: Architecture
    source: str
    target: str
    mapped: Mapping[str, str]
    transformed: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    assumed: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every key found its place and none is missing."""
        return not self.unused and not self.missing

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors as plain values, for JSON."""
        return {
            "source": self.source,
            "target": self.target,
            "complete": self.complete,
            "host": self.architecture.host and self.architecture.host.name,
            "mapped": dict(self.mapped),
            "transformed": dict(self.transformed),
            "unused": list(self.unused),
            "missing": list(self.missing),
            "filled": list(self.filled),
            "assumed": {name: str(value) for name, value in self.assumed.items()},
            "needs": {path: list(needs) for path, needs in self.needs.items()},
        }

    def __str__(self) -> str:
        plain = len(self.mapped) - len(self.transformed)
        lines = [
            f"{self.source} -> {self.target}",
            f"{len(self.mapped)} mapped ({plain} as they are, {len(self.transformed)} transformed), "
            f"{len(self.unused)} unused, {len(self.missing)} missing, {len(self.filled)} filled",
        ]
        if self.transformed:
            counts = Counter((_family(key), what) for key, what in self.transformed.items())
            rows = [(family, what, str(count)) for (family, what), count in counts.items()]
            lines += ["", format_table(("transformed", "how", "tensors"), rows, left=2)]
        for what, keys in (("unused", self.unused), ("missing", self.missing), ("filled", self.filled)):
            if keys:
                families = Counter(map(_family, keys))
                alone = {_family(key): key for key in keys}
                shown = [
                    f"  {family}  x {count}" if count > 1 else f"  {alone[family]}"
                    for family, count in families.most_common(_SHOWN)
                ]
                more = [f"  and {len(families) - _SHOWN} more families"] if len(families) > _SHOWN else []
                lines += ["", f"{what}:", *shown, *more]
        if self.assumed:
            lines += ["", "assumed, since tensors do not tell (--option NAME=VALUE says otherwise):"]
            lines += [f"  {name}={value}" for name, value in self.assumed.items()]
        if self.target == "gcnet" and self.architecture.host is None and not self.architecture.is_block:
            lines += ["", "tensors do not tell which network this is: build it and give it to gcnet.load as model="]
        if self.needs:
            counts = Counter((_family(path), ", ".join(needs)) for path, needs in self.needs.items())
            lines += ["", "to be built there with, since tensors do not tell:"]
            lines += [f"  {path or 'the block'}: {needs}  x {count}" for (path, needs), count in counts.items()]
        return "\n".join(lines)


def what_happens(key: Key, axes: str) -> str:
    """What becomes of a tensor on its way, where its axes of length one are ``axes``: dropped or added; else empty."""
    reshaped = f"{key.axes} axes of length one {axes}" if key.axes else ""
    return ", ".join(filter(None, (reshaped, key.change.name if key.change else "")))


def unmatched(what: str, keys: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The ``keys``, which are ``what``, that no pattern allows.

    Raises:
        ValueError: a pattern that matches none of them.

    Example:
        >>> unmatched("unused", ["decode_head.weight", "mean"], ["decode_head.*"])
        ['mean']
    """
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in keys):
            raise ValueError(f"--allow-{what} {pattern!r} matches none of the {len(keys)} {what} keys")
    return [key for key in keys if not any(fnmatchcase(key, pattern) for pattern in patterns)]


def _family(key: str) -> str:
    """A key with its numbers left open."""
    return re.sub(r"(?<![A-Za-z])\d+(?=\.)|(?<=layer)\d+", "*", key)
