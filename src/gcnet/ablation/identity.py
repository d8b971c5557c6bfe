"""What a run is: the hash of everything that decides on its result."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import gcnet
from gcnet.blocks.foreign import foreign_class
from gcnet.training.config import TrainingConfig

#: Fields that do not decide on the result: where data lies and files go, and how work is split without changing it.
LEFT_OUT = ("data", "out", "loggers", "save_minutes", "check_files", "workers", "threads")

#: Folders of gcnet whose files affect results, and those within that only show them.
SOURCES = ("ops", "blocks", "insertion", "models", "checkpoints", "layouts", "training")
SHOWING = ("training/demo", "training/data_check", "training/curves.py", "training/progress.py")

WHOLE = 2**28  # bytes of data up to which every byte counts
HEAD = 2**16  # of each file beyond


def run_key(config: TrainingConfig, *, sources: str, data: str) -> str:
    """Sixteen hexadecimal digits that name the run of a configuration.

    Args:
        config: resolved; its seed and threads count, fields in ``LEFT_OUT`` do not.
        sources: from :func:`source_hash`.
        data: from :func:`data_fingerprint`.

    Example:
        >>> from gcnet.recipes.classification import classification
        >>> one, other = (classification(Path(name)) for name in ("photos", "moved"))
        >>> run_key(one, sources="", data="") == run_key(other, sources="", data="")
        True
    """
    fields = {name: value for name, value in dataclasses.asdict(config).items() if name not in LEFT_OUT}
    values = {"task": config.task, **fields, "threads": config.threads, "sources": sources, "data": data}
    return _digest(json.dumps(values, sort_keys=True, default=str).encode())


def source_hash(config: TrainingConfig) -> str:
    """Hash of the source files that affect the result of a run.

    They are those of gcnet's operations, blocks, insertion, models, checkpoints and training, without what only shows
    results; and, for a block of another library, the file that defines it, with the version of its package.

    Args:
        config: whose block counts.

    Raises:
        ValueError: a block that cannot be imported.
    """
    own = _own_sources()
    return own if ":" not in config.block else _digest(f"{own} {_foreign(config.block)}".encode())


@cache
def _own_sources() -> str:
    root = Path(gcnet.__file__).parent
    paths = sorted(path for folder in SOURCES for path in (root / folder).rglob("*.py"))
    names = [(path.relative_to(root).as_posix(), path) for path in paths]
    counted = [(name, path) for name, path in names if not name.startswith(SHOWING)]
    return _digest(*(f"{name}\0".encode() + path.read_bytes() for name, path in counted))


def _foreign(source: str) -> str:
    module = sys.modules[foreign_class(source).__module__]
    content = Path(module.__file__).read_bytes() if module.__file__ else b""
    package = module.__name__.partition(".")[0]
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    return f"{source} {version} {_digest(content)}"


def data_fingerprint(data: Path) -> str:
    """Hash of the files of a data set; moving the folder does not change it.

    Up to 256 MB every byte counts; beyond that, the names, the sizes and the first 64 KB of every file.

    Args:
        data: a folder, or one file.

    Raises:
        FileNotFoundError: there is none.

    Example:
        >>> data = getfixture("tmp_path")
        >>> _ = (data / "a.txt").write_text("a")
        >>> first = data_fingerprint(data)
        >>> _ = (data / "a.txt").write_text("b")
        >>> data_fingerprint(data) == first
        False
    """
    if not data.exists():
        raise FileNotFoundError(f"data={data}: no such file or folder")
    files = sorted(path for path in data.rglob("*") if path.is_file()) if data.is_dir() else [data]
    sizes = [path.stat().st_size for path in files]
    head = None if sum(sizes) <= WHOLE else HEAD
    digest = hashlib.sha256()
    for path, size in zip(files, sizes, strict=True):
        digest.update(f"{path.relative_to(data).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read() if head is None else file.read(head))
    return digest.hexdigest()[:16]


def plain_values(config: TrainingConfig) -> dict[str, Any]:
    """A configuration as values for JSON, with its task."""
    values = {"task": config.task, **dataclasses.asdict(config)}
    return dict(json.loads(json.dumps(values, default=str)))


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
