"""``gcnet audit``: how much the attention of a network depends on the query."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from gcnet.analysis.audit import Audit
from gcnet.analysis.audit import audit as measure
from gcnet.analysis.audit.figure import draw_audit
from gcnet.analysis.query_dependence import PAIRS
from gcnet.files import whole_file
from gcnet.recipes.parsing import guarded
from gcnet.study.pictures import find_pictures, views
from gcnet.study.subject import Subject, open_subject
from gcnet.training.run_folder import new_run_folder, save_json


@dataclass(frozen=True)
class Arguments:
    """Measure at every block and attention layer how far positions differ, as the GCNet paper does.

    Writes audit.json, audit.png and audit.svg into a new folder. Exit status: 0, or 2 after an error in the arguments.
    """

    model: tyro.conf.Positional[str]
    """Folder of a run, file that gcnet.load reads, torchvision name or timm:NAME."""
    data: str = ""
    """Folder of images or videos, whose validation part is taken if it has one; by default the data of the run."""
    images: int = 500
    """So many of them, evenly spaced."""
    batch_size: int = 8
    """Images at a time."""
    match: str = ""
    """Pattern of the paths of blocks, such as "layer3.*.context_block"; by default all."""
    weights: str = ""
    """For a name: pretrained or a file; by default random weights."""
    size: int = 0
    """For a name or file: side in pixels that images are cut to; by default the network's own."""
    checkpoint: str = "best"
    """Of a run: best or last."""
    pairs: int = PAIRS
    """Pairs of positions drawn per image for the divergence, where there are more."""
    seed: int = 0
    """Of the pairs and of the intervals."""
    out: str = ""
    """Folder to write, new or empty; by default RUN/audits/001 or the next, without a run runs/audits/001."""
    json: bool = False
    """Print JSON."""


def audit(argv: list[str]) -> int:
    """Run ``gcnet audit`` with these arguments; print what was found and where it was written.

    Returns:
        0, or 2 after an error in the arguments.

    Example:
        >>> from gcnet.study.audit_cli import audit
        >>> audit(["resnet18"])
        2
    """
    arguments = tyro.cli(Arguments, args=argv, prog="gcnet audit", config=(tyro.conf.FlagCreatePairsOff,))
    return guarded("gcnet audit", lambda: _audit(arguments))


def _audit(arguments: Arguments) -> None:
    for name in ("images", "batch_size", "pairs"):
        if getattr(arguments, name) < 1 + (name == "pairs"):
            raise ValueError(f"{name}={getattr(arguments, name)} must be at least {1 + (name == 'pairs')}")
    subject = open_subject(
        arguments.model,
        checkpoint=arguments.checkpoint,
        weights=arguments.weights or None,
        size=arguments.size or None,
    )
    data = Path(arguments.data) if arguments.data else subject.data
    if data is None:
        raise ValueError(f"data: {arguments.model} has no data of its own; give --data with a folder of images")
    files = find_pictures(subject, data, arguments.images)
    out = Path(arguments.out) if arguments.out else None
    was_there = out is not None and out.exists()
    folder = _new_folder(out, subject)
    try:
        found = audit_files(
            subject,
            files,
            batch_size=arguments.batch_size,
            match=arguments.match or None,
            pairs=arguments.pairs,
            seed=arguments.seed,
        )
    except BaseException:
        if not was_there:
            folder.rmdir()
        raise
    save_json(folder / "audit.json", found.to_dict())
    for suffix in ("png", "svg"):
        with whole_file(folder / f"audit.{suffix}") as partial:
            draw_audit(found, partial)
    print(json.dumps(found.to_dict(), indent=2) if arguments.json else found)
    print(f"\n{folder}: audit.json, audit.png, audit.svg", file=sys.stderr)


def audit_files(
    subject: Subject,
    files: Sequence[Path],
    *,
    batch_size: int = 8,
    match: str | None = None,
    pairs: int | None = PAIRS,
    seed: int = 0,
) -> Audit:
    """Audit a network on images or videos, with a progress bar on the terminal.

    Args:
        subject: the network and how it sees them.
        files: from :func:`gcnet.study.pictures.find_pictures`. Those that cannot be read are left out and named in the
            notes of the audit.
        batch_size: images at a time; memory grows with it.
        match: pattern of paths of blocks; by default all.
        pairs: as in :func:`gcnet.analysis.audit.audit`.
        seed: likewise.

    Raises:
        ValueError: no file can be read, no block ran.

    Example:
        >>> import gcnet
        >>> from PIL import Image
        >>> from gcnet.study.sight import whole
        >>> path = getfixture("tmp_path") / "blue.png"
        >>> Image.new("RGB", (16, 9), "blue").save(path)
        >>> block = gcnet.NonLocal(3, hidden=2)
        >>> found = audit_files(Subject("block", block, whole(None, (0, 0, 0), (1, 1, 1)), block), [path])
        >>> found.images, found.blocks[0].positions, round(found.blocks[0].input.mean, 6)
        (1, (144, 144), 0.0)
    """
    broken: list[str] = []
    bar = tqdm(total=len(files), desc="audit", unit="image", file=sys.stderr, disable=not sys.stderr.isatty())

    def batches() -> Iterator[Tensor]:
        for batch in views(subject, files, batch_size, broken):
            yield torch.stack([view.input for view in batch])
            bar.update(len(batch))

    with bar:
        try:
            found = measure(subject.net, batches(), forward=subject, match=match, pairs=pairs, seed=seed)
        except ValueError:
            if len(broken) == len(files):
                raise ValueError(f"none of {len(files)} files can be read, such as {broken[0]}") from None
            raise
    where = os.path.commonpath([path.parent for path in files])
    notes = [f"Images: {found.images} below {where}.", *(f"Left out: {message}." for message in broken)]
    if not subject.trained:
        notes.append("Random weights: this says what the network starts from, not what it learns.")
    name = subject.name if subject.trained else f"{subject.name} (random weights)"
    return replace(found, model=name, notes=tuple(notes))


def _new_folder(out: Path | None, subject: Subject) -> Path:
    if out is None:
        return new_run_folder((subject.run or Path("runs")) / "audits")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out={out}: is there already; give a new or empty folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"out={out}: cannot be written ({error.strerror})") from error
    return out
