"""An audit as text, beside the paper's figures where the network is the paper's."""

from __future__ import annotations

from collections.abc import Iterator

from gcnet.analysis.audit.paper import PAPER, SETUPS, PaperStatistics
from gcnet.analysis.audit.report import QUANTITIES, Audit, BlockAudit
from gcnet.analysis.capture import KINDS
from gcnet.analysis.table import format_table

_HEAD = ("block", "kind", "positions", "input", "output", "attention", "JS divergence", "spread")
_FEW = 10  # images of which an interval is too narrow


def audit_text(audit: Audit) -> str:
    """The table, and below it what it needs to be read."""
    title = f"{audit.model}: " if audit.model else ""
    images = f"{audit.images} image{'s' if audit.images != 1 else ''}"
    lines = [line for block in audit.blocks for line in _lines(block, audit)]
    return "\n".join((f"{title}{images}", "", format_table(_HEAD, lines, left=2), "", *_notes(audit)))


def _lines(block: BlockAudit, audit: Audit) -> Iterator[tuple[str, ...]]:
    fewest, most = block.positions
    by = KINDS[block.kind] + (f" {block.pairwise}" if block.pairwise else "")
    path = block.path if block.head is None else f"  head {block.head}"
    positions = f"{fewest}" if fewest == most else f"{fewest}-{most}"
    cells = [_cell(block, quantity, audit.images) for quantity in (*QUANTITIES, "spread")]
    yield path, by if block.head is None else "", positions, *cells
    if audit.setup and block.pairwise:
        yield "  the paper's [M]", "", "", *_paper_cells(PAPER[audit.setup][block.pairwise]), ""


def _cell(block: BlockAudit, quantity: str, images: int) -> str:
    found = getattr(block, quantity)
    if found is not None:
        return str(found) + (f" of {found.images}" if found.images != images else "")
    if block.shared and quantity in QUANTITIES:
        return "shared"
    return "zero" if block.zeros.get(quantity) == 1 else "-"


def _paper_cells(figures: PaperStatistics) -> tuple[str, ...]:
    return tuple("-" if figure is None else f"{figure:.3f}" for figure in figures)


def _notes(audit: Audit) -> Iterator[str]:
    yield "Averages over pairs of positions of an image: cosine distance (0 to 0.5), divergence in nats (0 to 0.693)."
    yield "Spread: share of the keys that a row of the map effectively covers; 1 is a flat map, the same for all."
    if audit.images == 1:
        yield "One image: no intervals."
    else:
        few = f"; too narrow, with fewer than {_FEW} images" if audit.images < _FEW else ""
        yield f"In brackets: 95 % bootstrap intervals over images{few}."
    if any(block.shared for block in audit.blocks):
        yield "shared: one map for all positions; its distance, and that of what it adds, is 0 by construction."
    if any(share == 1 for block in audit.blocks for share in block.zeros.values()):
        yield "zero: nothing but zeros, which have no direction; a block that adds them is the identity."
    for block in audit.blocks:
        for quantity, share in block.zeros.items():
            if share < 1:
                of = block.path if block.head is None else f"{block.path}, head {block.head}"
                yield f"{of}: {share:.2g} of the vectors of {quantity} are zero and left out."
    if audit.pairs:
        error = max(block.divergence_error or 0 for block in audit.blocks)
        yield f"Divergence: {audit.pairs} pairs drawn per image, a standard error of at most {error:.2g} in a mean."
    yield from _about_the_paper(audit)
    yield from audit.notes


def _about_the_paper(audit: Audit) -> Iterator[str]:
    if audit.setup:
        yield f"the paper's [M]: quoted from memory; {SETUPS[audit.setup]}. Your data and training may be others."
        return
    for function in dict.fromkeys(block.pairwise for block in audit.blocks if block.pairwise):
        found = zip(QUANTITIES, _paper_cells(PAPER["coco"][function]), strict=True)
        yield (
            f"Of another network, {SETUPS['coco']}, the paper reports for {function}: "
            f"{', '.join(' '.join(pair) for pair in found)} [M]. [M]: quoted from memory."
        )
