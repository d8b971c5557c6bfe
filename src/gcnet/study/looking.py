"""One look of a network, or of two, at a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gcnet.analysis.capture import Captured, Maps, capture
from gcnet.analysis.figures import AttentionRow, attention_row, choose_block
from gcnet.analysis.figures.maps import pooled_neighbour, same_layer
from gcnet.study.subject import Subject, View


@dataclass(frozen=True, eq=False)
class Look:
    """What a block shows on a picture.

    Attributes:
        seen: the block.
        beside: the block shown for comparison, if there is one.
        row: picture and maps.
    """

    seen: Captured
    beside: Captured | None
    row: AttentionRow


def look(
    subject: Subject,
    path: Path,
    queries: str = "auto",
    *,
    block: str | None = None,
    head: int | None = None,
    beside: Subject | None = None,
) -> Look:
    """Let a network look at a picture, and another one beside it.

    Args:
        subject: whose block is looked at.
        path: of an image or a video.
        queries: as of :func:`gcnet.analysis.figures.attention_row`.
        block: path of the block; see :func:`gcnet.analysis.figures.choose_block`.
        head: of a transformer; by default the mean of all.
        beside: the other network; by default a pooled block of the same module, if there is one.

    Raises:
        ValueError: no attention, no such block or head, points out of range, or networks that see different things.
    """
    if beside is not None and beside.kind != subject.kind:
        raise ValueError(f"beside={beside.name}: sees {beside.kind}s, but {subject.name} sees {subject.kind}s")
    view, maps = see(subject, path)
    seen = maps[choose_block(maps, block)]
    picture, other = view.picture, pooled_neighbour(maps, seen)
    if beside is not None:
        other_view, other_maps = see(beside, path)
        picture, other = other_view.picture, same_layer(other_maps, seen)
    try:
        row = attention_row(seen, view.picture, queries, head=head, beside=other, beside_picture=picture)
    except ValueError as error:
        error.add_note(f"looking at {path}")
        raise
    return Look(seen, other, row)


def see(subject: Subject, path: Path) -> tuple[View, Maps]:
    """A picture as a network sees it, and what its blocks show.

    Raises:
        ValueError: a network without attention, or a broken picture.
    """
    view = subject.see(path)
    try:
        with capture(subject.net) as maps:
            subject(view.input.unsqueeze(0))
    except ValueError as error:
        error.add_note(
            f"{subject.name} is to be looked at: train a network with attention, such as by gcnet train "
            "classification --block nl --data DIR, or name a transformer, such as timm:vit_tiny_patch16_224"
        )
        raise
    return view, maps
