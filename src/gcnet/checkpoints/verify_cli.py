"""``gcnet verify``: whether two checkpoints compute the same."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
import tyro
from torch import nn

import gcnet
from gcnet.analysis.table import format_table
from gcnet.checkpoints.verify import Comparison, compare
from gcnet.insertion.options import parse_options, parse_size
from gcnet.models.sameness import first_difference


@dataclass(frozen=True)
class Arguments:
    """Run two checkpoints on one random input and print the largest difference of every stage.

    Exit status: 0 if no stage differs by more than the tolerance, 1 if one does, 2 after an error, such as different
    architectures. Of a detector the layers are compared on fixed regions; that thresholds, sizes of images or other
    settings differ is said below the stages.
    """

    a: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="A")]
    """Checkpoint in any layout that gcnet.load reads."""
    b: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="B")]
    """The other one."""
    input: str = "1x3x224x224"
    """Shape of the input with the batch."""
    from_: Annotated[str, tyro.conf.arg(name="from")] = ""
    """Layout of the first checkpoint, by default the one that fits; see gcnet convert --list."""
    option: tuple[str, ...] = ()
    """NAME=VALUE of what the tensors of the first checkpoint do not tell, such as style=caffe."""
    allow_unused: tuple[str, ...] = ()
    """Patterns of keys of the first checkpoint that may be left out, such as "decode_head.*"."""
    tolerance: float = 0.0
    """Largest absolute difference that counts as the same."""
    seed: int = 0
    """Of the input."""
    float64: bool = False
    """Compute in double precision."""
    json: bool = False
    """Print JSON."""


def verify(argv: list[str]) -> int:
    """Run ``gcnet verify`` with these arguments; print the differences.

    Returns:
        0; 1 if a stage differs by more than the tolerance; 2 after an error, which is printed to stderr.

    Example:
        >>> from gcnet.checkpoints.verify_cli import verify
        >>> verify(["a.pth", "b.pth", "--input", "224"])
        2
    """
    try:
        arguments = tyro.cli(Arguments, args=argv, prog="gcnet verify", config=(tyro.conf.FlagCreatePairsOff,))
        shape = parse_size(arguments.input)
        if len(shape) < 3:
            raise ValueError(f"input {arguments.input!r} is not a shape with batch and channels, such as 1x3x224x224")
        if not arguments.tolerance >= 0:
            raise ValueError(f"tolerance={arguments.tolerance} must be zero or more")
        dtype = torch.float64 if arguments.float64 else torch.float32
        x = torch.randn(shape, generator=torch.Generator().manual_seed(arguments.seed)).to(dtype)
        reading: dict[str, Any] = {
            "layout": arguments.from_ or None,
            "options": parse_options(arguments.option) or None,
        }
        a = _load(arguments.a, **reading, allow_unused=arguments.allow_unused).to(dtype)
        b = _load(arguments.b).to(dtype)
        compared = compare(a, b, x)
        difference = first_difference(b, a)
    except (OSError, ModuleNotFoundError, ValueError, TypeError, KeyError, RuntimeError) as error:
        print(f"error: {error if isinstance(error, OSError) or not error.args else error.args[0]}", file=sys.stderr)
        return 2
    same = compared.within(arguments.tolerance)
    if arguments.json:
        stages = [asdict(stage) for stage in compared.stages]
        values = {"same": same, "tolerance": arguments.tolerance, "built_differently": difference, "stages": stages}
        print(json.dumps(values, indent=2))
    else:
        print(report(compared))
        if difference:
            print(f"\nbuilt differently; in the second, {difference}")
        print(f"\n{'within' if same else 'beyond'} the tolerance of {arguments.tolerance:g}")
    return 0 if same else 1


def _load(path: str, **reading: Any) -> nn.Module:
    try:
        return gcnet.load(path, **reading)
    except ValueError as error:
        message = str(error)
        raise ValueError(message if message.startswith(path) else f"{path}: {message}") from error


def report(compared: Comparison) -> str:
    """The stages as a table."""
    rows = [
        (stage.name, "x".join(map(str, stage.shape)), f"{stage.absolute:.2g}", f"{stage.relative:.2g}")
        for stage in compared.stages
    ]
    return format_table(("stage", "shape", "largest difference", "relative"), rows, left=2)
