"""The Triton kernels: results under the interpreter, in a process of its own, and what holds without a GPU."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

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


def test_one_launch_is_for_large_maps_and_small_transforms():
    from gcnet.ops import Transform
    from gcnet.ops.context import triton as kernels

    class OnCuda(NamedTuple):
        shape: tuple[int, ...]
        is_cuda: bool = True

        def numel(self):
            return math.prod(self.shape)

        def element_size(self):
            return 2

    def prefers(shape, hidden, key=True):
        add = Transform(torch.empty(shape[1], hidden), None, torch.empty(hidden, shape[1]))
        return kernels.prefers_ticket(OnCuda(shape), torch.empty(shape[1]) if key else None, None, add)

    assert prefers((64, 256, 56, 56), 16)
    assert prefers((64, 512, 28, 28), 32)
    assert not prefers((64, 512, 28, 28), 128)
    assert not prefers((64, 256, 56, 56), 16, key=False)
    assert not prefers((8, 256, 56, 56), 16)
    assert not prefers((2, 512, 100, 168), 32)
    assert not kernels.prefers_ticket(torch.empty(64, 256, 56, 56, device="meta"), torch.empty(256), None, None)
