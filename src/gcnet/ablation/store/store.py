"""The store: runs, studies and failures, kept whole whoever writes at the same time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, select

from gcnet.ablation.row import Row
from gcnet.ablation.store.address import read_address
from gcnet.ablation.store.database import Database
from gcnet.ablation.store.lines import SUFFIX, read_lines
from gcnet.ablation.store.schema import failures, row_of, runs, studies, values_of
from gcnet.ablation.study import Study

AT_ONCE = 500  # keys in one question; databases bound them


class Store:
    """Results of ablations.

    Any number of processes may read and write at once, each change is whole or not there, and no connection is kept
    between calls: see :mod:`gcnet.ablation.store.database`, also for network file systems. Plain SQL reads the tables
    gcnet_runs, gcnet_studies and gcnet_failures, and gcnet_results, which has every run beside its study and variant.

    Args:
        url: a SQLite file as path or ``sqlite:///FILE``, made with its folder where there is none; a PostgreSQL
            database as ``postgresql://user:password@host/database`` (without a password, ~/.pgpass and PGPASSWORD
            count); or a text file of :func:`gcnet.ablation.store.export_json` by its suffix .jsonl, for reading.
        read_only: neither makes nor changes a file.

    Raises:
        FileNotFoundError: nothing to read.
        ValueError: no database, one of something else or of another version, a missing driver, a server that does not
            answer. So do all methods when the database is damaged, gone, not writable or locked for a minute.

    Example:
        >>> with Store(getfixture("tmp_path") / "results.sqlite") as store:
        ...     store.rows(), store.studies(), store.failures()
        ({}, [], {})
    """

    def __init__(self, url: str | Path, *, read_only: bool = False) -> None:
        where = read_address(url)
        if isinstance(where, Path) and where.suffix == SUFFIX:
            contents = read_lines(where)
            self._database = Database(None, read_only=False)
            self.merge(*contents)
            self._database.name, self._database.read_only = str(where), True
        else:
            self._database = Database(where, read_only=read_only)

    @property
    def name(self) -> str:
        """Path or URL, without password."""
        return self._database.name

    def __repr__(self) -> str:
        return f"Store({self.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, row: Row) -> None:
        """Store a run; a failure of it is forgotten. A run that is there already stays.

        Warns:
            UserWarning: the stored run has other metrics.
        """
        self.merge([row], [])

    def rows(self, keys: Iterable[str] | None = None) -> dict[str, Row]:
        """Runs by key.

        Args:
            keys: which; those that are not stored are left out. None for all.
        """
        with self._database.reading() as connection:
            return _rows(connection, keys)

    def save_study(self, study: Study) -> None:
        """Store a study, joined with the one of that name: see :meth:`gcnet.ablation.study.Study.joined`."""
        with self._database.writing() as connection:
            _save(connection, study, None)

    def studies(self) -> list[Study]:
        """All studies, the one saved last first."""
        with self._database.reading() as connection:
            return [study for study, _ in _studies(connection)]

    def study(self, name: str) -> Study:
        """One study.

        Args:
            name: of the study, of its table, or how its name begins, as long as only one fits.

        Raises:
            ValueError: none or several fit, with the names there are.
        """
        stored = self.studies()
        for fitting in (
            [study for study in stored if study.name == name],
            [study for study in stored if study.table.name == name],
            [study for study in stored if study.name.startswith(name)],
        ):
            if len(fitting) == 1:
                return fitting[0]
            if fitting:
                names = ", ".join(study.name for study in fitting)
                raise ValueError(f"study={name!r} fits {len(fitting)} studies of {self.name}: {names}")
        names = ", ".join(study.name for study in stored) or "none yet"
        raise ValueError(f"study={name!r}: no study of {self.name}; there are: {names}")

    def fail(self, key: str, error: str) -> None:
        """Note why a run failed, in place of an earlier reason; a run that is stored has not failed."""
        readable = error.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        with self._database.writing() as connection:
            if connection.scalar(select(runs.c.key).where(runs.c.key == key)) is None:
                connection.execute(failures.delete().where(failures.c.key == key))
                connection.execute(failures.insert().values(key=key, error=readable, failed=_now()))

    def failures(self) -> dict[str, str]:
        """Why runs failed, by key."""
        with self._database.reading() as connection:
            query = select(failures.c.key, failures.c.error).order_by(failures.c.key)
            return {record.key: record.error for record in connection.execute(query)}

    def contents(self) -> tuple[dict[str, Row], list[tuple[Study, str]]]:
        """All runs, and all studies with the time each was saved, as of one moment."""
        with self._database.reading() as connection:
            return _rows(connection, None), _studies(connection)

    def merge(self, rows: Iterable[Row], saved: Iterable[tuple[Study, str]]) -> int:
        """Store what :meth:`contents` gives, and return how many runs are new.

        Of two studies of one name, the one saved later is joined to the other.
        """
        rows, differing, new = list(rows), list[str](), 0
        with self._database.writing() as connection:
            stored = _rows(connection, (row.key for row in rows))
            for row in rows:
                if row.key not in stored:
                    stored[row.key] = row
                    connection.execute(runs.insert().values(values_of(row)))
                    connection.execute(failures.delete().where(failures.c.key == row.key))
                    new += 1
                elif change := _difference(stored[row.key].metrics, row.metrics):
                    differing.append(f"run {row.key} is stored with {change}")
            for study, time in sorted(saved, key=lambda each: each[1]):
                _save(connection, study, time)
        for message in differing:
            warnings.warn(f"{self.name}: {message}; the stored one stays", stacklevel=3)
        return new


def _rows(connection: Connection, keys: Iterable[str] | None) -> dict[str, Row]:
    query = select(runs).order_by(runs.c.key)
    if keys is None:
        queries = [query]
    else:
        wanted = sorted(set(keys))
        parts = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
        queries = [query.where(runs.c.key.in_(part)) for part in parts]
    found = (record for query in queries for record in connection.execute(query).mappings())
    return {record["key"]: row_of(dict(record)) for record in found}


def _studies(connection: Connection) -> list[tuple[Study, str]]:
    query = select(studies.c.definition, studies.c.saved).order_by(studies.c.saved.desc(), studies.c.name)
    return [(Study.from_dict(definition), saved) for definition, saved in connection.execute(query)]


def _save(connection: Connection, study: Study, time: str | None) -> None:
    """Join a study with the stored one; without a time it is saved now and joins last whatever clocks say."""
    query = select(studies.c.definition, studies.c.saved).where(studies.c.name == study.name)
    stored = connection.execute(query).one_or_none()
    saved = time or _now()
    if stored is None:
        connection.execute(studies.insert().values(name=study.name, definition=study.to_dict(), saved=saved))
        return
    earlier = Study.from_dict(stored.definition)
    last = time is None or datetime.fromisoformat(time) >= datetime.fromisoformat(stored.saved)
    joined = earlier.joined(study) if last else study.joined(earlier)
    values: dict[str, Any] = {"definition": joined.to_dict(), "saved": max(saved, stored.saved)}
    connection.execute(studies.update().where(studies.c.name == study.name).values(values))


def _difference(stored: Mapping[str, float], new: Mapping[str, float]) -> str:
    """The first metric that differs, in words; empty if none does. NaN equals NaN."""
    for name in [*stored, *(name for name in new if name not in stored)]:
        one, other = stored.get(name), new.get(name)
        if one != other and not (one is not None and other is not None and math.isnan(one) and math.isnan(other)):
            return f"{name} {one}, the new one has {other}"
    return ""


def _now() -> str:
    return datetime.now(UTC).isoformat()
