"""The scenes of an ablation, made once however many processes want them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from gcnet.training.config import TrainingConfig
from gcnet.training.scenes.compose import SceneSettings
from gcnet.training.scenes.make import make_scenes


def make_data(config: TrainingConfig, scenes: SceneSettings | None) -> bool:
    """Make scenes where they are wanted and not there; whether they were made here.

    A process that comes while another makes them waits for it.

    Args:
        config: whose ``data`` is the folder.
        scenes: their settings; None for data of a user.

    Raises:
        ValueError: scenes of other settings are there.
        OSError: the folder cannot be written.

    Example:
        >>> from dataclasses import replace
        >>> from gcnet.ablation.bases import base_of
        >>> base = base_of("segmentation")
        >>> config = replace(base.config, data=getfixture("tmp_path") / "scenes")
        >>> few = replace(base.scenes, train=2, val=2)
        >>> make_data(config, few), make_data(config, few), make_data(config, None)
        (True, False, False)
    """
    if scenes is None:
        return False
    meta = config.data / "meta.json"
    there = meta.is_file()
    with nullcontext() if there else _alone(config.data):
        there = there or meta.is_file()
        make_scenes(config.task, config.data, scenes, reuse=True)
    return not there


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Wait for a lock beside a folder; it ends with the process, however that ends."""
    data.parent.mkdir(parents=True, exist_ok=True)
    with data.with_name(f".{data.name}.lock").open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield
