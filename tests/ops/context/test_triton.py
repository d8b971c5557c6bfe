"""The Triton kernels: results under the interpreter, in a process of its own, and what holds without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")


def test_parity_under_the_interpreter():
    parity = Path(__file__).with_name("triton_parity.py")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(parity)],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]


def test_import_of_gcnet_leaves_triton_alone():
    code = "import gcnet, sys; assert 'gcnet.ops.context.triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tensors_on_the_cpu_are_not_supported():
    from gcnet.ops.context import triton as kernels

    assert not kernels.supports(torch.randn(2, 8, 4, 6))
