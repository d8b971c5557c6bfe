"""``gcnet attend``: where the blocks of a network look, as a figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gcnet.recipes.parsing import guarded


@dataclass(frozen=True)
class Arguments:
    """Draw the attention of a network over pictures, as figure 1 of GCNet: a column per query point.

    Beside the maps of the queries stands that of a GC or SNL block, or the mean map over all queries. Of videos, frames
    stand in a row and the maps below them. Prints how far each map is from uniform and from the mean map.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Folder of a run, a file that gcnet.load reads, or a name such as timm:vit_tiny_patch16_224 or resnet18."""
    images: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IMAGE...")]
    """Images, videos for a network of videos, or folders of them."""
    queries: str = "auto"
    """auto for three telling points, or "x,y;x,y" ("t,x,y" of videos) in pixels of the picture shown, or in shares from
    0.0 to 1.0."""
    block: str = ""
    """Path of the block, such as layer3.0; by default the last one whose map is at least 4 x 4."""
    head: int | None = None
    """Head of a transformer, from 0; by default the mean of all."""
    beside: str = ""
    """Another model, whose block of the same layer is shown for comparison."""
    beside_weights: str = ""
    """Of the other model, as --weights."""
    out: Path = Path("attention.png")
    """File to write."""
    format: str = ""
    """png, svg or pdf, several as png,svg,pdf; by default that of --out."""
    width: float = 17.0
    """Most of the figure, in cm: 8.5 for a column of a paper."""
    most: int = 4
    """Pictures out of a folder, evenly spaced."""
    checkpoint: str = "best"
    """Of a run: best or last."""
    weights: str = ""
    """Of a network by name: pretrained, or a file; random by default."""
    size: int | None = None
    """Side in pixels of the square that a network out of no run sees; by default its own."""
    json: bool = False
    """Print JSON."""


def attend(argv: list[str]) -> int:
    """Run ``gcnet attend`` with these arguments; write the figure and print what was written.

    Returns:
        0, or 2 after an error, which is printed to stderr.

    Example:
        >>> attend(["runs/none", "a.png"])
        2
    """

    def run() -> None:
        arguments = tyro.cli(Arguments, args=argv, prog="gcnet attend", config=(tyro.conf.FlagCreatePairsOff,))
        report = _attend(arguments)
        print(json.dumps(report, indent=2) if arguments.json else _text(report))

    return guarded("gcnet attend", run)


def _attend(arguments: Arguments) -> dict[str, Any]:
    """Draw, and report what was drawn."""
    from gcnet.analysis.figures import attention_figure, attention_strip, save_figure
    from gcnet.analysis.figures.sheet import figure_paths
    from gcnet.study.looking import look
    from gcnet.study.subject import open_subject
    from gcnet.training.loading import BrokenSample

    formats = tuple(name.strip() for name in arguments.format.split(",") if name.strip())
    figure_paths(arguments.out, formats)
    subject = open_subject(
        arguments.model, checkpoint=arguments.checkpoint, weights=arguments.weights or None, size=arguments.size
    )
    beside = open_subject(arguments.beside, weights=arguments.beside_weights or None) if arguments.beside else None
    if arguments.beside_weights and beside is None:
        raise ValueError(f"beside_weights={arguments.beside_weights}: goes with --beside MODEL")
    files, notes = _files(subject, arguments.images, arguments.most)
    notes += [f"{net.name} has random weights; give --weights" for net in (subject, beside) if net and not net.trained]
    looks = {}
    for path in files:
        try:
            looks[path] = look(
                subject, path, arguments.queries, block=arguments.block or None, head=arguments.head, beside=beside
            )
        except BrokenSample as error:
            if path in arguments.images:
                raise
            notes.append(f"left out: {error}")
    if not looks:
        raise ValueError(f"none of {len(files)} files can be read; {notes[-1]}")
    draw = attention_figure if subject.kind == "image" else attention_strip
    figure = draw([found.row for found in looks.values()], width=arguments.width)
    shown = next(iter(looks.values()))
    first = shown.seen
    written = save_figure(figure, arguments.out, formats, title=f"Attention of {first.path} in {arguments.model}")
    return {
        "model": arguments.model,
        "block": first.path,
        "kind": first.kind,
        "heads": first.heads,
        "head": arguments.head,
        "beside": shown.beside and {"model": arguments.beside or arguments.model, "block": shown.beside.path},
        "notes": notes,
        "pictures": [
            {"file": str(path), "size": list(found.row.picture.shape[1:]), "queries": found.row.numbers()}
            for path, found in looks.items()
        ],
        "written": [str(path) for path in written],
    }


def _files(subject: Any, images: Sequence[Path], most: int) -> tuple[list[Path], list[str]]:
    """Files to look at, and what was left out of folders."""
    from gcnet.study.pictures import find_pictures, thinned

    if not images:
        raise ValueError(f"give {subject.kind}s, or a folder of them, after the model")
    if most < 1:
        raise ValueError(f"most={most} must be at least 1")
    files, notes = [], []
    for path in images:
        found = find_pictures(subject, path)
        files += thinned(found, most)
        if len(found) > most:
            notes.append(f"{path}: {most} of {len(found)} {subject.kind}s, evenly spaced; --most takes more")
    return files, notes


def _text(report: dict[str, Any]) -> str:
    from gcnet.analysis.table import format_table

    which = "" if report["heads"] == 1 else "mean of all heads" if report["head"] is None else f"head {report['head']}"
    rows = [
        (
            Path(picture["file"]).name,
            f"{number}: {_place(numbers['query'])}" if numbers["query"] else "all",
            f"{numbers['largest']['times_uniform']:.3g} x uniform at {_place(numbers['largest'])}",
            "-" if numbers["effective_positions"] is None else f"{numbers['effective_positions']:.1f}",
            str(numbers["positions"]),
            f"{numbers['distance_to_mean']:.4f}",
        )
        for picture in report["pictures"]
        for number, numbers in enumerate(picture["queries"], 1)
    ]
    head = ("picture", "query", "largest weight", "effective positions", "of", "distance to mean map")
    beside = report["beside"]
    lines = [
        ", ".join(part for part in (f"{report['block']} ({report['kind']})", which) if part),
        *([f"beside it: {beside['block']} of {beside['model']}"] if beside else ()),
        *report["notes"],
        "",
        format_table(head, rows, left=3),
        "",
        *(f"wrote {path}" for path in report["written"]),
    ]
    return "\n".join(lines)


def _place(pixel: dict[str, Any]) -> str:
    return ",".join(str(pixel[name]) for name in ("t", "x", "y") if name in pixel)
