"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from gcnet import __version__

_PACKAGES = ("mmcv-lite", "mmcv", "timm", "torchvision", "triton", "numpy")
_VARIABLES = re.compile("MALLOC_|OMP_|MKL_|KMP_|GOMP_|GCNET_|CUDA_|PYTORCH_|TORCHINDUCTOR_|TRITON_|NVIDIA_|LD_PRELOAD")

#: Keeps memory that is freed within the process, so that a large tensor costs no page faults after the first time.
TUNED_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**30),
    "MALLOC_TRIM_THRESHOLD_": str(8 * 2**30),
    "MALLOC_TOP_PAD_": str(2**30),
}


@dataclass(frozen=True)
class Environment:
    """Hardware, software and settings of a run.

    Attributes:
        date: UTC, ISO 8601.
        commit: of the checkout the package runs from, ``+changes`` if it has some; None from a wheel.
        versions: of Python, gcnet, torch and the peers; what is missing is not installed.
        system: operating system.
        processor: model of the CPU.
        cores: logical ones that the process may use.
        threads: that PyTorch uses.
        capability: best vector instructions that PyTorch uses.
        memory_gib: RAM.
        load: average of the last minute at the start, of the whole machine.
        allocator: ``"tuned"`` or ``"default"``.
        variables: environment variables that change results.
        gpu: name, or None for a run on the CPU.
        gpu_memory_gib: of the GPU.
        driver: of the GPU.
        cuda: that torch was built with.
    """

    date: str
    commit: str | None
    versions: dict[str, str]
    system: str
    processor: str
    cores: int
    threads: int
    capability: str
    memory_gib: float
    load: float | None
    allocator: str
    variables: dict[str, str]
    gpu: str | None = None
    gpu_memory_gib: float | None = None
    driver: str | None = None
    cuda: str | None = None

    @property
    def slug(self) -> str:
        """Name of the hardware for a folder, such as ``"amd-epyc-2-cores"``."""
        name = self.gpu or f"{self.processor} {self.cores} cores"
        return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)", "", name.lower())).strip("-")


def environment(device: str) -> Environment:
    """The environment now.

    Example:
        >>> from gcnet.benchmarks.environment import environment
        >>> environment("cpu").gpu is None
        True
    """
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return Environment(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        versions=_versions(),
        system=f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}".strip(", "),
        processor=processor_name(),
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        capability=torch.backends.cpu.get_cpu_capability(),
        memory_gib=_memory_gib(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        allocator="tuned" if is_tuned(os.environ) else "default",
        variables={name: value for name, value in sorted(os.environ.items()) if _VARIABLES.match(name)},
        gpu=gpu.name if gpu else None,
        gpu_memory_gib=round(gpu.total_memory / 2**30, 1) if gpu else None,
        driver=_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0") if gpu else None,
        cuda=torch.version.cuda if gpu else None,
    )


def is_tuned(variables: Mapping[str, str]) -> bool:
    """Whether these environment variables are those of the tuned allocator."""
    return TUNED_ALLOCATOR.items() <= dict(variables).items()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "gcnet": __version__, "torch": torch.__version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def usable_cores() -> int:
    """Cores that this process may use.

    Example:
        >>> usable_cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_name() -> str:
    """What the CPU calls itself.

    Example:
        >>> bool(processor_name())
        True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gib() -> float:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return 0.0


def _commit() -> str | None:
    here = str(Path(__file__).parent)
    if not _output("git", "-C", here, "ls-files", Path(__file__).name):
        return None  # installed into a checkout of something else, or no checkout at all
    commit = _output("git", "-C", here, "rev-parse", "HEAD")
    return f"{commit}+changes" if commit and _output("git", "-C", here, "status", "--porcelain", "--", here) else commit


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
