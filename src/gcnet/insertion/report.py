"""What insertion tells: the blocks of a model, what was done to it, and aligned tables of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from gcnet.insertion.attach import Place, fusion_state


@dataclass(frozen=True)
class Added:
    """One attached block.

    Attributes:
        path: path of the block, such as ``"layer3.4.context_block"``.
        position: where it is applied in its host.
        block: name of its class.
        channels: C.
        parameters: number of its parameters.
        enabled: whether it is applied at all.
        fused: whether it takes over shortcut and ReLU at present, ``"yes"`` or what keeps it from that; None where it
            was not asked to.
    """

    path: str
    position: str
    block: str
    channels: int
    parameters: int
    enabled: bool
    fused: str | None = None

    @classmethod
    def of(cls, path: str, host: nn.Module, place: Place, block: Any) -> Added:
        """Describe ``block`` in ``host``, which is at ``path``."""
        inside = f"{path}.{place.name}" if path else place.name
        count = sum(parameter.numel() for parameter in block.parameters())
        fused = fusion_state(host, place.name) if place.fuse_residual else None
        return cls(inside, place.position, type(block).__name__, block.channels, count, block.enabled, fused)


@dataclass(frozen=True)
class Blocks:
    """A tuple of attached blocks with their sum.

    Attributes:
        blocks: one entry per block, in the order of the network.
    """

    blocks: tuple[Added, ...]

    @property
    def parameters(self) -> int:
        """Parameters of all the blocks."""
        return sum(block.parameters for block in self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Added]:
        return iter(self.blocks)

    def _table(self, **columns: Sequence[object]) -> str:
        """One row per block; more ``columns``, and the one of fusion if somebody asked for it, at the right."""
        if any(block.fused for block in self):
            columns |= {"shortcut fused": [block.fused or "" for block in self]}
        rows = [(block.path, block.position, block.block, block.channels, block.parameters) for block in self]
        rows = [(*row, *more) for row, *more in zip(rows, *columns.values(), strict=True)]
        return table(("path", "position", "block", "channels", "parameters", *columns), rows)


@dataclass(frozen=True)
class Status(Blocks):
    """The context blocks of a model; made by :func:`gcnet.status`, printable as a table."""

    def __str__(self) -> str:
        if not self.blocks:
            return "no context blocks"
        return f"{self._table(enabled=['yes' if block.enabled else 'no' for block in self])}\n{count_blocks(self)}"


@dataclass(frozen=True)
class Report(Blocks):
    """What was done to a model; printable.

    Attributes:
        action: ``"inserted"`` or ``"removed"``.
        changes_output: whether insertion changed the output of the model.
    """

    action: str
    changes_output: bool = False

    def __str__(self) -> str:
        lines = [self._table(), f"{self.action} {count_blocks(self)}"]
        if self.changes_output:
            lines.append("note: the output of the model changes, this block does not start as the identity")
        return "\n".join(lines)


class _Counted(Protocol):
    @property
    def parameters(self) -> int: ...

    def __len__(self) -> int: ...


def count_blocks(blocks: _Counted) -> str:
    """``"3 blocks, 101,667 parameters"``."""
    return f"{len(blocks)} block{'s' if len(blocks) > 1 else ''}, {blocks.parameters:,} parameters"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns aligned by width; numbers to the right, with separated thousands."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    right = [all(isinstance(row[column], int) for row in rows) for column in range(len(header))]
    lines = [list(header), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )
