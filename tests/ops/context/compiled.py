"""Kernels compiled without a GPU: what a primitive would launch, and what the compiler makes of it."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int32: "*i32"}


class Code(NamedTuple):
    kernel: str
    registers: int
    spills: int  # loads from and stores to local memory
    loads: dict[int, int]  # width in bits: instructions
    stores: dict[int, int]
    sass: str


def launches(monkeypatch, call):
    """The launches that ``call`` makes, as (kernel, arguments, constants)."""
    from gcnet.ops.context.triton import fusion, pooling, spreading, summation, ticket

    recorded = []
    for module in (fusion, pooling, spreading, summation, ticket):
        monkeypatch.setattr(
            module, "launch", lambda kernel, programs, *arguments, **rest: recorded.append((kernel, arguments, rest))
        )
    call()
    return recorded


def compile_for(capability, kernel, arguments, rest):
    """Compile a launch as the just-in-time compiler would: pointers aligned, None and 1 constant."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, constants, attributes = {}, {}, {}
    values = dict(zip(kernel.arg_names, arguments, strict=False))
    constants_given = {name: rest[name] for name in kernel.arg_names if name in rest}
    options = {name: value for name, value in rest.items() if name not in constants_given}
    for i, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in constants_given:
            signature[name], constants[name] = "constexpr", constants_given[name]
        elif values[name] is None:
            signature[name], constants[name] = "constexpr", None
        elif isinstance(values[name], torch.Tensor):
            signature[name] = POINTERS[values[name].dtype]
            attributes[(i,)] = [["tt.divisibility", 16]]
        elif isinstance(values[name], float):
            signature[name] = "fp32"
        else:
            assert parameter.do_not_specialize, f"{name} of {kernel.__name__} would be specialised"
            signature[name] = "i32" if values[name] < 2**31 else "i64"
    source = ASTSource(kernel, signature, constants, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return inspect(kernel.__name__, compiled.asm["cubin"])


def inspect(name, cubin):
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage, sass = (
            subprocess.run([tool, option, file.name], capture_output=True, text=True, check=True).stdout
            for option in ("-res-usage", "-sass")
        )
    registers = int(re.search(r"REG:(\d+)", usage)[1])
    return Code(
        name, registers, len(re.findall(r"\b(?:LDL|STL)\b", sass)), widths(sass, "LDG"), widths(sass, "STG"), sass
    )


def widths(sass, instruction):
    """How many accesses there are of each width, in bits."""
    counts = {}
    for modifiers in re.findall(rf"\b{instruction}\.E((?:\.\w+)*)", sass):
        found = re.search(r"\.(?:[US](8|16)|(64|128))(?!\w)", modifiers)
        width = int(found[1] or found[2]) if found else 32
        counts[width] = counts.get(width, 0) + 1
    return dict(sorted(counts.items()))
