"""The folder of a run: made new, found again, its configuration written and read."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from gcnet.blocks.base import check_choice
from gcnet.files import whole_file
from gcnet.training.config import TASKS, TrainingConfig
from gcnet.training.distributed import RUN_VARIABLE, is_first, started_from_outside


def new_run_folder(root: Path) -> Path:
    """Create and return the next free ``root/001``, ``root/002``, ...; existing runs are never touched.

    Example:
        >>> runs = getfixture("tmp_path")
        >>> new_run_folder(runs).name, new_run_folder(runs).name
        ('001', '002')
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        return _next_folder(root)
    except OSError as error:
        raise ValueError(f"out={root}: cannot be written ({error.strerror})") from error


def _next_folder(root: Path) -> Path:
    number = max((int(path.name) for path in root.iterdir() if path.name.isdecimal()), default=0)
    while True:
        number += 1
        folder = root / f"{number:03}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def run_folder(config: TrainingConfig, run: Path | None) -> Path:
    """``run``, or a new folder below ``config.out``, the same in all processes of a training.

    Raises:
        ValueError: several processes were started from outside and ``run`` is None; a folder that cannot be written.
    """
    if run is None and RUN_VARIABLE in os.environ:
        return Path(os.environ[RUN_VARIABLE])
    if run is None:
        if started_from_outside():
            raise ValueError(
                "run=None: under torchrun and SLURM the processes have to agree on a folder; give --run DIR, which "
                "also lets the same command go on after a restart"
            )
        return new_run_folder(config.out)
    if is_first():
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"run={run}: cannot be written ({error.strerror})") from error
    return run


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep a second training out of the folder; the lock ends with the process, however that ends.

    Raises:
        ValueError: another process trains there.
    """
    if not is_first():
        yield
        return
    with (run / ".lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock's, no loading process inherits it
        except BlockingIOError:
            raise ValueError(f"run={run}: another process trains there; give another folder") from None
        yield


def save_config(run: Path, config: TrainingConfig) -> None:
    """Write config.json."""
    save_json(run / "config.json", {"task": config.task, **dataclasses.asdict(config)})


def load_config(run: Path) -> TrainingConfig:
    """The configuration a run was started with.

    Raises:
        FileNotFoundError: ``run`` is no folder of a run.
        ValueError: the file is damaged.
    """
    path = run / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"run={run}: no such run (it has no config.json)")
    try:
        values = json.loads(path.read_text())
        task = values.pop("task")
        check_choice("task", task, TASKS)
        module = import_module(f"gcnet.training.{task}.config")
        config: TrainingConfig = TypeAdapter(module.CONFIG).validate_python(values, strict=False)
        return config
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "config"
        raise ValueError(f"run={run}: {path} is damaged ({field}: {first['msg']})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"run={run}: {path} is damaged ({type(error).__name__}: {error})") from error


def save_json(path: Path, content: Any) -> None:
    """Write dataclasses, dicts and lists as JSON; the file appears whole or not at all."""

    def plain(value: Any) -> Any:
        return (
            dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)
        )

    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, default=plain) + "\n")
