"""The files of a data set: found in folders, and looked at before the training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of these kinds in a folder and the folders in it, sorted, hidden ones aside."""
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith(".")
    )


def expand(inputs: Sequence[Path], suffixes: Sequence[str], kind: str) -> list[Path]:
    """The files given, and those with one of ``suffixes`` in the folders given.

    Raises:
        FileNotFoundError: a folder without such files.
    """
    files: list[Path] = []
    for path in inputs:
        inside = files_below(path, suffixes) if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f"{path}: folder without {kind}s ({', '.join(suffixes)})")
        files += inside
    return files


def check_all(problem: Callable[[Item], str | None], items: Sequence[Item]) -> None:
    """Look at every item, several at a time.

    Args:
        problem: what is wrong with an item, or None.
        items: all of them.

    Raises:
        ValueError: as :func:`refuse`.

    Example:
        >>> check_all(lambda path: None if path.exists() else f"{path}: is not there", [Path("a"), Path("b")])
        Traceback (most recent call last):
        ValueError: a: is not there; 1 more files have such a problem. Repair or remove it, or give on_broken='skip'
    """
    with ThreadPoolExecutor(8) as pool:
        refuse([found for found in pool.map(problem, items) if found])


def refuse(problems: Sequence[str]) -> None:
    """Raise ValueError with the first of several problems, and how many more there are; nothing if there is none."""
    if problems:
        more = f"; {len(problems) - 1} more files have such a problem" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}. Repair or remove it, or give on_broken='skip'")
