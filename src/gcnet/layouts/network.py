"""What a table of a whole foreign network is made of: renames with fields, and the blocks inside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gcnet.layouts.table import Change

#: What a field of a template stands for: numbers, except these.
_FIELDS = {"rest": r".+", "leaf": r"[^.]+", "postfix": r"[0-9]*"}


class Rename(NamedTuple):
    """A family of tensors under their two names, as templates with the same fields.

    ``{rest}`` stands for any number of segments of a key, ``{leaf}`` for one, every other field for a number:
    ``Rename("neck.fpn_convs.{level}.conv.{leaf}", "backbone.fpn.layer_blocks.{level}.0.{leaf}")``.
    """

    theirs: str
    ours: str
    change: Change | None = None

    def ours_of(self, theirs: str) -> str | None:
        """Our name for ``theirs``; None if the template does not fit."""
        return _translate(self.theirs, self.ours, theirs)

    def theirs_of(self, ours: str) -> str | None:
        """Their name for ``ours``; None if the template does not fit."""
        return _translate(self.ours, self.theirs, ours)


class Child(NamedTuple):
    """A block within a residual block there: name of the child, its layout, and where it is applied.

    ``movable`` says that the source can apply it elsewhere too, which its tensors do not tell.
    """

    name: str
    layout: str
    position: str = "after_1x1"
    movable: bool = False


_SITE = Rename("layer{stage}.{block}", "layer{stage}.{block}")


@dataclass(frozen=True)
class NetworkLayout:
    """How one source names the tensors of a whole network.

    Attributes:
        name: such as ``"mmdetection Mask R-CNN"``.
        marks: templates; a state dict is of this layout if each of them fits one of its keys.
        renames: the host, tried in order; the first template that fits a key counts.
        children: the blocks inside the host; a name with another ending, such as ``context_block2``, is one too.
        ignored: templates of keys without weights, dropped and reported as such.
        refused: templates of keys that ours has no counterpart for -> what a network with such a key has.
        supported: what there may be instead, for the error.
        site: a residual block under its two names.
        in_place: layouts of blocks that are found anywhere and keep their path, the host keeping all its names.
        assumed: what tensors do not tell of the network -> what is assumed unless the user says otherwise.
    """

    name: str
    marks: tuple[str, ...]
    renames: tuple[Rename, ...]
    children: tuple[Child, ...] = ()
    ignored: tuple[str, ...] = field(default=())
    refused: Mapping[str, str] = field(default_factory=dict)
    supported: str = ""
    site: Rename = _SITE
    in_place: tuple[str, ...] = ()
    assumed: Mapping[str, str] = field(default_factory=dict)

    def check(self, keys: Iterable[str]) -> None:
        """ValueError for a key that is refused; it names the key and what it belongs to."""
        for key in keys:
            for template, what in self.refused.items():
                if fits(template, key) is not None:
                    raise ValueError(f"{key}: {self} with {what} is not supported; supported is {self.supported}")

    def __str__(self) -> str:
        return self.name


_patterns: dict[str, re.Pattern[str]] = {}


def fits(template: str, key: str) -> Mapping[str, str] | None:
    """The fields of ``template`` in ``key``; None if it does not fit.

    Example:
        >>> fits("layer{stage}.{block}.{rest}", "layer3.4.bn1.weight")
        {'stage': '3', 'block': '4', 'rest': 'bn1.weight'}
    """
    if template not in _patterns:
        parts = re.split(r"\{(\w+)\}", template)
        names = [
            f"(?P<{part}>{_FIELDS.get(part, '[0-9]+')})" if i % 2 else re.escape(part) for i, part in enumerate(parts)
        ]
        _patterns[template] = re.compile("".join(names))
    match = _patterns[template].fullmatch(key)
    return match.groupdict() if match else None


def _translate(source: str, target: str, key: str) -> str | None:
    fields = fits(source, key)
    return None if fields is None else target.format(**fields)
