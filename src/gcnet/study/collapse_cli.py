"""``gcnet collapse``: a trained network with cheap blocks where its attention does not depend on the query."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import tyro

from gcnet.analysis.collapse import QueryDependentError
from gcnet.analysis.collapse.replace import THRESHOLD, TOLERANCE
from gcnet.insertion.options import parse_ratio
from gcnet.recipes.parsing import guarded


@dataclass(frozen=True)
class Arguments:
    """Replace the non-local blocks of a run whose attention does not depend on the query by SNL or GC blocks.

    The run stays as it is. The new network is written to RUN/collapsed/001, with accuracy, costs and latency before
    and after. Exit status 1: the attention of every block depends on the query.
    """

    run: tyro.conf.Positional[Path]
    """Folder of a run."""
    data: Path | None = None
    """Data laid out as the run's own, which is the default."""
    to: str = "gc"
    """gc, or snl, which keeps the transform whole."""
    ratio: str = ""
    """Hidden width / channels of gc; by default 1/16."""
    kept: float | None = None
    """Instead: share of the variance of the transformed contexts that gc keeps, such as 0.99."""
    threshold: float = THRESHOLD
    """Largest average cosine distance between the rows of a block's attention map."""
    tolerance: float = TOLERANCE
    """Largest share of a block's output that varies between positions."""
    force: bool = False
    """Collapse whatever the data say."""
    match: str | None = None
    """Pattern of block paths, such as "layer3.**"; by default all blocks."""
    distill: int = 0
    """Steps that train each new block to give what the old one gave."""
    seed: int = 0
    """Of the distillation."""
    images: int = 256
    """Training images to measure and distil on, at least."""
    checkpoint: str = "best"
    """best or last."""
    json: bool = False
    """Print JSON."""


def collapse(argv: list[str]) -> int:
    """Run ``gcnet collapse`` with these arguments; print the result.

    Returns:
        0; 1 where the attention of every block depends on the query; 2 after another error. Both go to stderr.

    Example:
        >>> collapse(["runs/classification/001", "--to", "snl"])  # doctest: +SKIP
    """
    return guarded("gcnet collapse", lambda: _run(argv))


def _run(argv: list[str]) -> None:
    from gcnet.study.collapse_run import collapse_run

    arguments = tyro.cli(Arguments, args=argv, prog="gcnet collapse", config=(tyro.conf.FlagCreatePairsOff,))
    options = {**vars(arguments), "ratio": parse_ratio(arguments.ratio)}
    del options["json"]
    try:
        with redirect_stdout(sys.stderr):  # where progress belongs
            made = collapse_run(**options)
    except QueryDependentError as refusal:
        print(f"gcnet collapse: {refusal}", file=sys.stderr)
        raise SystemExit(1) from None
    print(json.dumps(made.to_dict(), indent=2) if arguments.json else made)
