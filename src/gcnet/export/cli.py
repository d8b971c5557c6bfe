"""``gcnet export``: a model as a program that runs without gcnet."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro

from gcnet.analysis.table import format_table
from gcnet.export import Exported, ExportError
from gcnet.export import export as write
from gcnet.export.models import open_model
from gcnet.export.program import check_target
from gcnet.insertion.options import parse_size


@dataclass(frozen=True)
class Arguments:
    """Write a model as ONNX, torch.export or AOTInductor program of plain operators, and compare it with eager.

    The file appears only if it gives the outputs of eager within 1e-5 of their largest value (2e-2 in float16). Of a
    detector, the backbone with its pyramid is exported. Exit status: 0, 1 if the program differs or could not be
    made, 2 after an error in the arguments.
    """

    model: tyro.conf.Positional[str]
    """Checkpoint or URL that gcnet.load reads, with a dot or slash in it; or torchvision name, timm:NAME,
    mask_rcnn:NAME (untrained, random blocks)."""
    out: tyro.conf.Positional[str]
    """File to write: .onnx, or .pt2 for pt2 and aoti."""
    to: str
    """onnx, pt2 or aoti."""
    block: str = ""
    """For a name: gc (the default), snl, nl, se, cbam, bam, scse, sk or none."""
    ratio: str = ""
    """For a name: hidden width / channels, such as 1/16."""
    stages: str = ""
    """For a name: such as c3-c5, the default, or c3,c5."""
    match: str = ""
    """For a name without stages: module-path pattern, such as "stages.*.blocks.*"."""
    position: str = ""
    """For a name: after_1x1, after_3x3, after_add or after_block."""
    input: str = ""
    """Size of one sample, such as 3x224x224; by default the usual one of the network."""
    batch: int = 2
    """Samples of the example."""
    fixed_batch: bool = False
    """The program takes this batch only."""
    fixed_size: bool = False
    """The program takes this size only."""
    min_size: int = 0
    """Least height and width of the program; by default the least of 1, 4, 33, 65 and 129 that works."""
    float16: bool = False
    """Weights, input and outputs in half precision."""
    overwrite: bool = False
    """Replace an existing file."""
    json: bool = False
    """Print JSON."""


def export(argv: list[str]) -> int:
    """Run ``gcnet export`` with these arguments; print what was written.

    Returns:
        0; 1 if the program differs from eager or could not be made; 2 after an error in the arguments.

    Example:
        >>> from gcnet.export.cli import export
        >>> export(["resnet18", "block.txt", "--to", "onnx", "--stages", "c5"])
        2
    """
    try:
        arguments = tyro.cli(Arguments, args=argv, prog="gcnet export", config=(tyro.conf.FlagCreatePairsOff,))
        if arguments.batch < 1:
            raise ValueError(f"batch={arguments.batch} must be positive")
        check_target(Path(arguments.out), arguments.to, arguments.overwrite)
        names = ("block", "ratio", "stages", "match", "position")
        model, size = open_model(arguments.model, **{name: getattr(arguments, name) for name in names})
        example = torch.randn(arguments.batch, *(parse_size(arguments.input) if arguments.input else size))
        done = write(
            model,
            example,
            arguments.out,
            to=arguments.to,
            dynamic=("batch",) * (not arguments.fixed_batch) + ("size",) * (not arguments.fixed_size),
            min_size=arguments.min_size or None,
            float16=arguments.float16,
            overwrite=arguments.overwrite,
        )
    except ExportError as error:
        print(f"error: {error}; nothing was written", file=sys.stderr)
        return 1
    except (OSError, ModuleNotFoundError, ValueError, TypeError, KeyError) as error:
        print(f"error: {error if isinstance(error, OSError) or not error.args else error.args[0]}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(done), indent=2) if arguments.json else report(done))
    return 0


def report(done: Exported) -> str:
    """What was written, as text."""
    ports = [*(("input", port) for port in done.inputs), *(("output", port) for port in done.outputs)]
    rows = [(kind, port.name, " x ".join(map(str, port.shape))) for kind, port in ports]
    opset = f", opset {done.opset}" if done.opset else ""
    free = any(isinstance(size, str) for size in done.inputs[0].shape[2:])
    lines = [
        f"{done.path}: {done.format}{opset}, {done.dtype}, {done.bytes / 1e6:.1f} MB",
        "",
        format_table(("", "name", "shape"), rows, left=3),
        *([f"least size: {' x '.join(map(str, done.min_size))}"] if free else []),
        "",
        f"largest difference from eager: {done.difference:.2g} of the largest value (tolerance {done.tolerance:g}), "
        f"inputs {', '.join('x'.join(map(str, shape)) for shape in done.checked)}",
        ", ".join(f"{name} {version}" for name, version in done.versions.items()),
    ]
    return "\n".join(lines)
