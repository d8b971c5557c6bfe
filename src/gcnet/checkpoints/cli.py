"""``gcnet convert``: a checkpoint in another layout, with a report of every key."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro

from gcnet.checkpoints.architecture import Architecture
from gcnet.checkpoints.containers import shown
from gcnet.checkpoints.conversion import Conversion, unmatched
from gcnet.checkpoints.convert import as_they_are, to_ours, to_theirs
from gcnet.checkpoints.document import ENTRY, Document
from gcnet.insertion.options import parse_options
from gcnet.layouts import NETWORK_LAYOUTS


@dataclass(frozen=True)
class Arguments:
    """Convert a checkpoint between layouts, losing nothing unnoticed.

    The report is always printed. Nothing is written unless every key of the file was used and none of the network is
    missing, or the ones that are were allowed.

    Exit status: 0 if all is well, 1 if keys are unused or missing that were not allowed, 2 after an error.
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")] = ""
    """File to read: safetensors, .pth or .pt; nothing in it is executed."""
    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TARGET")] = ""
    """File to write: .safetensors or .pth."""
    to: str = "gcnet"
    """Layout to write; see --list."""
    from_: Annotated[str, tyro.conf.arg(name="from")] = ""
    """Layout to read, by default the one that fits."""
    option: tuple[str, ...] = ()
    """NAME=VALUE of what tensors do not tell, such as style=caffe or position=after_add."""
    allow_unused: tuple[str, ...] = ()
    """Patterns of keys of the file that may be left out, such as "decode_head.*"."""
    allow_missing: tuple[str, ...] = ()
    """Patterns of keys of the network that may be missing."""
    container: str = ""
    """Which weights to read of a file that holds several, such as ema_state_dict; by default plain before averages."""
    allow_nan: bool = False
    """Convert weights that are NaN or infinite."""
    overwrite: bool = False
    """Replace an existing file, also the one that is read."""
    json: bool = False
    """Print the report as JSON."""
    dry_run: bool = False
    """Write nothing."""
    list: bool = False
    """Name the layouts."""


def convert(argv: list[str]) -> int:
    """Run ``gcnet convert`` with these arguments; print the report.

    Returns:
        0; 1 if keys are unused or missing that were not allowed, nothing being written; 2 after an error, which is
        printed to stderr.

    Example:
        >>> from gcnet.checkpoints.cli import convert
        >>> convert(["--list"])
        mmdetection 1.x Mask R-CNN
        ...
        0
    """
    try:
        arguments = tyro.cli(Arguments, args=argv, prog="gcnet convert", config=(tyro.conf.FlagCreatePairsOff,))
        if arguments.list:
            print("\n".join(NETWORK_LAYOUTS))
            return 0
        return _convert(arguments)
    except (ModuleNotFoundError, OSError, ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _convert(arguments: Arguments) -> int:
    from gcnet.checkpoints.reader import read
    from gcnet.checkpoints.writer import check_target, write

    if not arguments.source or not (arguments.target or arguments.dry_run):
        raise ValueError("name the file to read and the file to write, or give --dry-run")
    if not arguments.dry_run:
        check_target(arguments.target, overwrite=arguments.overwrite)
    contents = read(arguments.source, container=arguments.container or None, allow_nan=arguments.allow_nan)
    options = parse_options(arguments.option)
    document = Document.from_metadata(contents.metadata)
    if document is None or arguments.from_:
        read_in = to_ours(contents.tensors, layout=arguments.from_ or None, options=options, metadata=contents.metadata)
    elif options:
        raise ValueError("a file of gcnet.save says itself how its model is built: leave out --option")
    elif document.contents == "added":
        raise ValueError("the file holds the added weights only: load it over its host, and save or convert that")
    else:
        read_in = as_they_are(document.untied(contents.tensors), document.architecture)
    steps = [read_in]
    if arguments.to != "gcnet":
        steps.append(to_theirs(read_in.tensors, read_in.architecture, layout=arguments.to))
    problems = _problems(steps, arguments)
    beside = contents.metadata.keys() - {ENTRY}
    notes = (*contents.notes, *([f"not weights, left behind: {shown(sorted(beside))}"] if beside else []))
    reports = [step.to_dict() for step in steps]
    if arguments.json:
        print(json.dumps({"notes": notes, "steps": reports, "problems": problems}, indent=2))
    else:
        print(_text(notes, steps, problems))
    if problems:
        return 1
    if not arguments.dry_run:
        metadata = _metadata(read_in.architecture, arguments.to)
        write(arguments.target, steps[-1].tensors, metadata, overwrite=arguments.overwrite)
        print(f"\nwritten: {arguments.target}", file=sys.stderr if arguments.json else sys.stdout)
    return 0


def _problems(steps: list[Conversion], arguments: Arguments) -> list[str]:
    unused = [key for step in steps for key in step.unused]
    missing = [key for step in steps for key in step.missing]
    return unmatched("unused", unused, arguments.allow_unused) + unmatched("missing", missing, arguments.allow_missing)


def _text(notes: tuple[str, ...], steps: list[Conversion], problems: list[str]) -> str:
    verdict = (
        [f"\nnot written: {len(problems)} unused or missing and not allowed, such as {problems[0]}"] if problems else []
    )
    return "\n".join((*notes, "\n\n".join(map(str, steps)), *verdict))


def _metadata(architecture: Architecture, to: str) -> dict[str, str]:
    """What :func:`gcnet.load` rebuilds the network from; nothing for files of other libraries."""
    return Document(architecture).to_metadata() if to == "gcnet" else {}
