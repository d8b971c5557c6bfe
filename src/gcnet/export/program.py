"""Export a module, and prove the file before it appears."""

from __future__ import annotations

import copy
import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import gcnet
from gcnet.blocks.base import check_choice
from gcnet.export.axes import DYNAMIC, Traced, checked_example, foreign_operators, trace, trials
from gcnet.export.formats import FORMATS, OPSET, Run
from gcnet.files import whole_file
from gcnet.insertion.state import unwrapped

#: Largest difference from eager, as a share of the largest value of an output.
TOLERANCE = 1e-5
#: The same in float16, against eager in float32: each of some fifty layers rounds by up to 2**-11 = 5e-4, and the
#: roundings add up.
TOLERANCE_FLOAT16 = 2e-2
_LARGEST = 2**31 - 2**20


class ExportError(RuntimeError):
    """The written program computes something else than the module; no file is left."""


@dataclass(frozen=True)
class Port:
    """An input or output of a program: its name and shape, free axes by name."""

    name: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Exported:
    """What was written and how far it is from eager.

    Attributes:
        path: the file.
        format: ``"onnx"``, ``"pt2"`` or ``"aoti"``.
        opset: of ONNX, or None.
        dtype: of weights, input and outputs.
        inputs: names and shapes; an axis is a number, or a name where it is free.
        outputs: the same.
        min_size: least spatial size of the input.
        bytes: size of the file.
        difference: largest difference from eager in float32, as a share of the output's largest value.
        tolerance: what it was held to.
        checked: shapes of the inputs that were compared.
        versions: of the libraries that wrote and ran it.
    """

    path: str
    format: str
    opset: int | None
    dtype: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    min_size: tuple[int, ...]
    bytes: int
    difference: float
    tolerance: float
    checked: tuple[tuple[int, ...], ...]
    versions: dict[str, str]


def export(
    model: nn.Module,
    example: Tensor,
    path: str | os.PathLike[str],
    *,
    to: str,
    dynamic: tuple[str, ...] = DYNAMIC,
    min_size: int | None = None,
    float16: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write a module as a program of plain ATen or ONNX operators that runs without gcnet.

    The file is loaded again, run on random inputs of up to three shapes and compared with eager; only then it takes
    its name. The module stays as it is; its copy on the CPU, in eval mode, is what is exported.

    Args:
        model: a module from a tensor [N, C, *spatial] to a tensor or a dict, list or tuple of tensors; DDP and
            torch.compile are taken off.
        example: an input that it takes; a free axis may be any other.
        path: file to write, ``.onnx`` or ``.pt2``.
        to: ``"onnx"``, ``"pt2"`` (``torch.export``) or ``"aoti"`` (compiled by AOTInductor, needs a C++ compiler).
        dynamic: which axes are free, out of ``"batch"`` and ``"size"`` (every spatial axis).
        min_size: least height and width, or length, of a program of free size; None finds the least of 1, 4, 33, 65
            and 129 that works. Frames are free from as many on, or from the example's if it has fewer.
        float16: weights, input and outputs in half precision.
        overwrite: replace an existing file, which stays as it is until the new one is proven.

    Returns:
        Names, shapes, and the largest difference from eager as a share of the largest value of an output.

    Raises:
        ValueError: an unknown format or suffix, an example that the model does not take, axes that cannot be free,
            weights beyond the 2 GB of an ONNX file.
        OSError: a folder that is not there or cannot be written, a file that exists.
        ModuleNotFoundError: ONNX or ONNX Runtime is not installed.
        ExportError: an operator outside plain PyTorch, or a difference beyond the tolerance.
        RuntimeError: no C++ compiler.

    Example:
        >>> import pathlib, tempfile, torch, gcnet
        >>> from gcnet.export import export
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "block.pt2")
        ...     done = export(gcnet.GlobalContext(32), torch.randn(2, 32, 8, 8), path, to="pt2")
        ...     program = torch.export.load(path).module()
        >>> done.inputs
        (Port(name='input', shape=('batch', 32, 'height', 'width')),)
        >>> program(torch.randn(5, 32, 7, 9)).shape
        torch.Size([5, 32, 7, 9])
    """
    path = Path(path)
    for name in dynamic:
        check_choice("dynamic", name, DYNAMIC)
    check_target(path, to, overwrite)
    eager = copy.deepcopy(unwrapped(model)).cpu().float().eval()
    example = checked_example(example, dynamic, min_size)
    names = _names(eager, example)
    weights = sum(t.numel() * (2 if float16 else 4) for t in (*eager.parameters(), *eager.buffers()))
    if to == "onnx" and weights > _LARGEST:
        raise ValueError(f"to='onnx': weights of {weights / 1e9:.1f} GB do not fit one ONNX file of 2 GB; use 'pt2'")
    dtype = torch.float16 if float16 else torch.float32
    exported = copy.deepcopy(eager).to(dtype).requires_grad_(False)
    traced = trace(exported, example.to(dtype), dynamic, min_size)
    if foreign := foreign_operators(traced.program):
        raise ExportError(f"the program needs operators that plain PyTorch does not have: {', '.join(foreign)}")
    tolerance = TOLERANCE_FLOAT16 if float16 else TOLERANCE
    with whole_file(path) as temporary:
        FORMATS[to].write(traced.program, names, temporary)
        inputs = trials(example, traced)
        difference = _difference(eager, FORMATS[to].load(temporary), inputs, names, dtype, tolerance)
        size = temporary.stat().st_size
    return Exported(
        str(path),
        to,
        OPSET if to == "onnx" else None,
        str(dtype).removeprefix("torch."),
        _shapes(["input"], traced.program, traced, inputs=True),
        _shapes(names, traced.program, traced, inputs=False),
        tuple(traced.least.get(axis, example.shape[axis]) for axis in range(2, example.dim())),
        size,
        difference,
        tolerance,
        tuple(tuple(x.shape) for x in inputs),
        _versions(to),
    )


def check_target(path: Path, to: str, overwrite: bool = False) -> None:
    """Raise unless a program of the format ``to`` can be written to ``path``; as :func:`export`."""
    check_choice("to", to, FORMATS)
    if path.suffix != FORMATS[to].suffix:
        raise ValueError(f"path {str(path)!r}: a file of format {to!r} ends in {FORMATS[to].suffix}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path {str(path)!r}: there is no folder {str(path.parent)!r}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise PermissionError(f"path {str(path)!r} cannot be written")
    if path.exists() and not overwrite:
        raise FileExistsError(f"path {str(path)!r} exists; give another name or overwrite=True (--overwrite)")
    for module in FORMATS[to].needs:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f'to={to!r} needs {module}: pip install "gcnet[export]"', name=module) from error


@torch.no_grad()
def _difference(
    eager: nn.Module, run: Run, inputs: Sequence[Tensor], names: Sequence[str], dtype: torch.dtype, tolerance: float
) -> float:
    worst = 0.0
    for x in inputs:
        for name, expected, found in zip(names, pytree.tree_leaves(eager(x)), run(x.to(dtype)), strict=True):
            where = f"output {name!r} of input {tuple(x.shape)}"
            if found.shape != expected.shape:
                raise ExportError(f"{where}: shape {tuple(found.shape)}, eager gives {tuple(expected.shape)}")
            expected = expected.float()
            difference = float((found.float() - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
            if not isfinite(difference) or difference > tolerance:
                raise ExportError(
                    f"{where} differs from eager by {difference:.2g} of its largest value, over {tolerance:g}"
                )
            worst = max(worst, difference)
    return worst


@torch.no_grad()
def _names(model: nn.Module, example: Tensor) -> list[str]:
    """Names of the outputs: the keys of a dict, else numbers; one tensor is the output."""
    try:
        leaves = pytree.tree_flatten_with_path(model(example))[0]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"the model does not take an example of {tuple(example.shape)}: {error}") from error
    if not all(isinstance(leaf, Tensor) for _, leaf in leaves):
        raise ValueError("model must return tensors; export the backbone of a detector, not the detector")
    keys = ["_".join(str(getattr(key, "key", getattr(key, "idx", key))) for key in path) for path, _ in leaves]
    names = [f"output_{key}" if key.isdecimal() or key == "input" else key or "output" for key in keys]
    if len(set(names)) < len(names):
        raise ValueError(f"two outputs of the model have the same name: {', '.join(names)}")
    return names


def _shapes(names: Sequence[str], program: Any, traced: Traced, *, inputs: bool) -> tuple[Port, ...]:
    signature = program.graph_signature
    wanted = signature.user_inputs if inputs else signature.user_outputs
    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    given = values[signature.user_inputs[0]].shape
    symbols = {str(given[axis]): name for axis, name in traced.axes.items()}

    def label(size: Any) -> int | str:
        if isinstance(size, int):
            return size
        text = str(size)
        for symbol, name in symbols.items():
            text = text.replace(symbol, name)
        return text

    return tuple(Port(name, tuple(map(label, values[key].shape))) for name, key in zip(names, wanted, strict=True))


def _versions(to: str) -> dict[str, str]:
    made = {"gcnet": gcnet.__version__, "torch": str(torch.__version__)}
    return made | {name: importlib.import_module(name).__version__ for name in FORMATS[to].needs}
