"""The three formats: how a program is written, and how the file is run without gcnet."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

#: The operator set that torch's exporter writes without a converter; ONNX Runtime reads it since 1.14.
OPSET = 18

Run = Callable[[Tensor], Sequence[Tensor]]


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        suffix: of the file.
        needs: modules of the extra ``gcnet[export]`` that write and load it.
        write: (program, names of the outputs, file).
        load: file -> a function from an input to the outputs.
    """

    suffix: str
    needs: tuple[str, ...]
    write: Callable[[ExportedProgram, Sequence[str], Path], None]
    load: Callable[[Path], Run]


def _write_onnx(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(action="ignore"):
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=["input"],
                output_names=list(names),
                verbose=False,
            )
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert made is not None
    made.save(path, external_data=False)


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: [torch.from_numpy(y) for y in session.run(None, {name: x.detach().numpy()})]


def _write_pt2(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    torch.export.save(program, path)


def _load_pt2(path: Path) -> Run:
    return _flat(torch.export.load(path).module())


def _write_aoti(program: ExportedProgram, names: Sequence[str], path: Path) -> None:
    import torch._inductor as inductor
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        inductor.aoti_compile_and_package(program, package_path=str(path))
    except RuntimeError as error:
        if not isinstance(getattr(error, "inner_exception", error), InvalidCxxCompiler):
            raise
        raise RuntimeError(
            "to='aoti' compiles C++ and found no compiler: install g++ or clang, or name one in the environment "
            "variable CXX; 'onnx' and 'pt2' need none"
        ) from error


def _load_aoti(path: Path) -> Run:
    import torch._inductor as inductor

    return _flat(inductor.aoti_load_package(str(path)))


def _flat(module: Callable[[Tensor], object]) -> Run:
    return lambda x: pytree.tree_leaves(module(x))


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _load_onnx),
    "pt2": Format(".pt2", (), _write_pt2, _load_pt2),
    "aoti": Format(".pt2", (), _write_aoti, _load_aoti),
}
