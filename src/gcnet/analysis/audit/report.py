"""What an audit found, as data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gcnet.analysis.bootstrap import Interval
from gcnet.analysis.capture import POOLED

#: What is measured of a block: three average cosine distances, and the Jensen-Shannon divergence of attention rows.
QUANTITIES = ("input", "output", "attention", "divergence")


@dataclass(frozen=True)
class BlockAudit:
    """A block, or one head of an attention layer.

    Attributes:
        path: of the module.
        kind: one of :data:`gcnet.analysis.capture.KINDS`.
        pairwise: function of a non-local block, None of others.
        head: from 0; None for a block, and for a layer as a whole, whose attention and divergence are means over heads.
        positions: fewest and most positions that were compared in an image; those of a prefix are left out.
        images: how many it saw.
        input: average cosine distance between positions of what came in.
        output: the same of what is added to it.
        attention: the same of the rows of the map.
        divergence: Jensen-Shannon divergence of these rows, in nats, where they are distributions.
        spread: share of the keys that a row of the map effectively covers, 1 where it is uniform; of 256 rows at most.
        zeros: quantity -> share of its vectors that were zero and left out, having no direction; where there were any.
        divergence_error: standard error of ``divergence`` from drawing pairs of positions, or a little more; 0 if all
            were taken. Images of a batch share their pairs, which it allows for.
    """

    path: str
    kind: str
    pairwise: str | None
    head: int | None
    positions: tuple[int, int]
    images: int
    input: Interval | None = None
    output: Interval | None = None
    attention: Interval | None = None
    divergence: Interval | None = None
    spread: Interval | None = None
    zeros: Mapping[str, float] = field(default_factory=dict)
    divergence_error: float | None = None

    @property
    def shared(self) -> bool:
        """Whether all positions have one map, so that its distance and that of the output is 0 by construction."""
        return self.kind in POOLED


@dataclass(frozen=True)
class Audit:
    """How much the attention of a network depends on the query. Prints as a table.

    Attributes:
        blocks: in the order in which they ran; a layer with heads is followed by its heads.
        images: how many were seen.
        setup: of the paper, where the network has it: a key of :data:`gcnet.analysis.audit.paper.SETUPS`.
        pairs: of positions that divergence was drawn from, where there were more; None if all were taken.
        model: name of the network.
        notes: what else a reader has to know, a sentence each.
    """

    blocks: tuple[BlockAudit, ...]
    images: int
    setup: str | None = None
    pairs: int | None = None
    model: str = ""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Audit:
        """Back from :meth:`to_dict`.

        Raises:
            ValueError: other keys than those of an audit.
        """
        try:
            blocks = tuple(_block(block) for block in values["blocks"])
            return cls(**{**values, "blocks": blocks, "notes": tuple(values["notes"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"values are not those of an audit ({type(error).__name__}: {error})") from error

    @classmethod
    def load(cls, path: Path | str) -> Audit:
        """From a file that ``gcnet audit`` has written.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it holds no audit.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except ValueError as error:
            raise ValueError(f"{path}: holds no audit ({error})") from error

    def __str__(self) -> str:
        from gcnet.analysis.audit.table import audit_text

        return audit_text(self)


def _block(values: Mapping[str, Any]) -> BlockAudit:
    intervals = {name: Interval(**found) for name in (*QUANTITIES, "spread") if (found := values[name]) is not None}
    return BlockAudit(**{**values, **intervals, "positions": tuple(values["positions"])})
