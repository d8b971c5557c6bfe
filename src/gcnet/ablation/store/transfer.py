"""Results from one store to another, and to a text file."""

from __future__ import annotations

from pathlib import Path

from gcnet.ablation.store.lines import SUFFIX, write_lines
from gcnet.ablation.store.store import Store


def copy(source: Store, into: Store) -> int:
    """Put the runs and studies of one store into another, in one transaction, and return how many runs were new.

    A run that is there already stays; studies of one name are joined, and the one saved later decides. Failures are
    not copied.

    Raises:
        ValueError: a store that cannot be read or written.

    Example:
        >>> from gcnet.ablation.store import Store, copy
        >>> folder = getfixture("tmp_path")
        >>> with Store(folder / "laptop.sqlite") as laptop, Store(folder / "team.sqlite") as team:
        ...     copy(laptop, team)
        0
    """
    rows, studies = source.contents()
    return into.merge(rows.values(), studies)


def export_json(store: Store, path: Path) -> None:
    """Write runs and studies as a text file for ``Store(path)``: equal results give equal bytes, one line each.

    After a merge by git that keeps the lines of both sides, the file is whole.

    Args:
        store: to read.
        path: with the suffix .jsonl. An old file is replaced at the end, its folder is made.

    Raises:
        ValueError: another suffix.

    Example:
        >>> from gcnet.ablation.store import Store, export_json
        >>> path = getfixture("tmp_path") / "results.jsonl"
        >>> with Store(path.with_suffix(".sqlite")) as store:
        ...     export_json(store, path)
        >>> path.read_text()
        '{"gcnet_results": 1}\\n'
        >>> Store(path).rows()
        {}
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"path={path}: the suffix is {SUFFIX}, such as {path.with_suffix(SUFFIX)}")
    write_lines(path, *store.contents())
