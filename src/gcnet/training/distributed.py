"""Which process this is, before any process group exists: alone, started by Lightning, by torchrun or by SLURM."""

from __future__ import annotations

import os

from gcnet.training.config import TrainingConfig

RUN_VARIABLE = "GCNET_RUN"  # tells the processes that Lightning starts which folder the first one made


def is_first() -> bool:
    """Whether this process is the one that writes and prints.

    Example:
        >>> is_first()
        True
    """
    rank = "RANK" if _torchrun() else "SLURM_PROCID" if _slurm() else "LOCAL_RANK"
    return int(os.environ.get(rank, 0)) == 0


def started_from_outside() -> bool:
    """Whether torchrun or SLURM started several processes, which have to agree on a folder by themselves."""
    return _torchrun() or _slurm()


def processes(config: TrainingConfig) -> tuple[int | str, int]:
    """Lightning's ``devices`` and ``num_nodes``: what torchrun or SLURM started, or what the configuration says."""
    if _torchrun():
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    if _slurm():
        nodes = int(os.environ["SLURM_NNODES"])
        return int(os.environ["SLURM_NTASKS"]) // nodes, nodes
    return config.devices or "auto", config.nodes


def _torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _slurm() -> bool:
    """Inside ``srun``; a shell of ``salloc`` has no process number of its own per task."""
    return "SLURM_PROCID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
