"""``gcnet bench``: time ours against others on this machine."""

from __future__ import annotations

import difflib
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from gcnet.analysis.table import format_table
from gcnet.benchmarks.cases import Case, select
from gcnet.benchmarks.environment import TUNED_ALLOCATOR, is_tuned
from gcnet.benchmarks.parity import ParityError
from gcnet.benchmarks.peers import OURS, peers
from gcnet.benchmarks.report import text
from gcnet.benchmarks.results import Run, to_json
from gcnet.benchmarks.runner import Settings, run
from gcnet.blocks.base import check_choice

_QUICK_CASES = ("gc/c4/*", "gc/tiny/*", "se/c4/*")


@dataclass(frozen=True)
class Arguments:
    """Time gcnet's blocks against other libraries', the same weights in all of them.

    Every contestant's outputs and gradients are compared with float64 first; nothing is reported if one computes
    something else. Then all take turns. Exit status: 0, 1 after failed parity, 2 after an error in the arguments.
    """

    case: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Name or pattern such as "gc/*", once for each; by default all, or with --quick a few. See --list."""
    vs: str = ""
    """Contestants, joined by commas: mmcv, timm, torchvision, published (the published operations in plain PyTorch),
    compile (torch.compile of those), onnx and aoti (ours exported, run by ONNX Runtime and AOTInductor, forward),
    our implementations by name, such as eager, and as floors copy (of the map) and
    plain (the network without blocks). What cannot run is named below the table. By default those that fit, without
    compile and our own."""
    device: str = ""
    """cpu or cuda; by default cuda where there is one."""
    threads: int = 0
    """CPU threads; by default PyTorch's own choice."""
    repeats: int = 20
    """Rounds, each with one sample of every contestant."""
    quick: bool = False
    """Few short rounds: a look, not a measurement."""
    graphs: bool = False
    """On cuda, replay CUDA graphs, which leaves out launches from Python."""
    tuned_allocator: bool = False
    """Start again with glibc's allocator told to keep freed memory (see docs/guides/benchmarks.md)."""
    out: str = ""
    """Folder for JSON, table and picture, in a folder of their own for this hardware."""
    name: str = "bench"
    """Name of these files."""
    json: bool = False
    """Print JSON instead of the table."""
    list: bool = False
    """Name the cases and stop."""


def bench(argv: list[str]) -> int:
    """Run ``gcnet bench`` with these arguments; print the result, and progress to stderr.

    Returns:
        0; 1 if a contestant computes something else; 2 after an error in the arguments.

    Example:
        >>> from gcnet.benchmarks.cli import bench
        >>> bench(["--list", "--case", "gc/tiny/*", "--device", "cpu"])
        case                      input     dtype    layout      options
        ------------------------------------------------------------------
        gc/tiny/forward           1x64x7x7  float32  contiguous  ratio=1/8
        gc/tiny/forward+backward  1x64x7x7  float32  contiguous  ratio=1/8
        0
    """
    try:
        arguments = tyro.cli(Arguments, args=argv, prog="gcnet bench", config=(tyro.conf.FlagCreatePairsOff,))
        settings = _settings(arguments)
        patterns = arguments.case or (_QUICK_CASES if arguments.quick and not arguments.list else ())
        cases = select(patterns, settings.device)
        names = parse_peers(arguments.vs)
        if arguments.list:
            print(_listed(cases))
            return 0
        folder = _folder(arguments)
        if arguments.tuned_allocator and not is_tuned(os.environ):
            _start_again(argv)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        done = run(cases, names or None, settings, progress=lambda line: print(line, file=sys.stderr, flush=True))
    except ParityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(to_json(done) if arguments.json else text(done))
    if folder:
        _write(done, folder / done.environment.slug, arguments.name)
    return 0


def parse_peers(names: str) -> tuple[str, ...]:
    """Contestants from text.

    Raises:
        ValueError: an unknown name, with the nearest one.

    Example:
        >>> from gcnet.benchmarks.cli import parse_peers
        >>> parse_peers("mmcv,eager")
        ('mmcv', 'eager')
    """
    given = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in given:
        if name == OURS:
            raise ValueError(f"vs: {OURS} is in every run already; name others")
        if name not in peers():
            near = difflib.get_close_matches(name, peers(), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"vs: there is no contestant {name!r}; {hint}there are {', '.join(peers())}")
    return given


def _settings(arguments: Arguments) -> Settings:
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    check_choice("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda': PyTorch sees no GPU here; use --device cpu")
    if arguments.graphs and device != "cuda":
        raise ValueError("--graphs replays CUDA graphs, which needs --device cuda")
    if arguments.threads < 0:
        raise ValueError(f"threads={arguments.threads} must be at least 1")
    if arguments.repeats < 3:
        raise ValueError(f"repeats={arguments.repeats}: quartiles need at least 3")
    if arguments.quick:
        return Settings(device, rounds=5, seconds=0.001, quick=True, graphs=arguments.graphs)
    return Settings(device, rounds=arguments.repeats, graphs=arguments.graphs)


def _start_again(argv: list[str]) -> None:
    """Replace this process by one with the tuned allocator, which reads its settings when a process starts."""
    if platform.libc_ver()[0] != "glibc":
        raise ValueError("--tuned-allocator sets glibc's allocator, which this system does not use")
    command = [sys.executable, "-m", "gcnet.cli", "bench", *argv]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **TUNED_ALLOCATOR})


def _folder(arguments: Arguments) -> Path | None:
    if not re.fullmatch(r"[\w.+-]+", arguments.name):
        raise ValueError(f"name={arguments.name!r} must be made of letters, digits and .+-_, such as gc-tuned")
    if not arguments.out:
        return None
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(done: Run, folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(to_json(done) + "\n")
    (folder / f"{name}.txt").write_text(text(done) + "\n")
    written = f"{name}.json, {name}.txt"
    try:
        from gcnet.benchmarks.figure import draw

        draw(done, folder / f"{name}.png")
        written += f", {name}.png"
    except ModuleNotFoundError as error:
        print(f'no picture: it needs {error.name!r}: pip install "gcnet[train]"', file=sys.stderr)
    except ValueError as error:
        print(f"no picture: {error}", file=sys.stderr)
    print(f"wrote {written} to {folder}", file=sys.stderr)


def _listed(cases: list[Case]) -> str:
    rows = []
    for case in cases:
        options = " ".join(f"{name}={_option(value)}" for name, value in case.options.items())
        rows.append(
            [
                case.name,
                "x".join(map(str, case.shape)),
                str(case.dtype).removeprefix("torch."),
                case.layout,
                options + (" compiled" if case.compiled else ""),
            ]
        )
    return format_table(["case", "input", "dtype", "layout", "options"], rows, left=5)


def _option(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return f"1/{round(1 / value)}" if isinstance(value, float) else str(value)
