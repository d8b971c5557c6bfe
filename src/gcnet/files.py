"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder and with the same suffix, which takes the place of ``path`` at the end.

    It is removed if anything is raised, and what was at ``path`` stays.

    Raises:
        OSError: the folder cannot be written.

    Example:
        >>> path = getfixture("tmp_path") / "notes.txt"
        >>> with whole_file(path) as partial:
        ...     _ = partial.write_text("whole")
        >>> path.read_text()
        'whole'
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.stem[:100]}.", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.chmod(_permissions(path))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _permissions(path: Path) -> int:
    """Those of the file replaced; otherwise what the process gives to new files."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
