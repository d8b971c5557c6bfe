"""Transactions on a SQLite file or a PostgreSQL server.

- No connection outlives its transaction. So a process that forks, as data loaders do, shares none with its child
  (SQLite loses its locks by that, PostgreSQL mixes the answers), a server keeps no idle ones during hours of training,
  and one that was restarted meanwhile is no error.
- Writers take turns: SQLite by ``BEGIN IMMEDIATE``, PostgreSQL by an advisory lock, which ends with the transaction
  however that ends. They wait for each other for up to 60 seconds.
- SQLite keeps its rollback journal. WAL would need memory that all processes share, which a network file system does
  not give, and leaves two more files beside a results file that may be committed. On a network file system even the
  journal is as safe as its locks (NFS 4 has them, some mounts switch them off): PostgreSQL is the safe place there.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, StaticPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from gcnet.ablation.store.address import secrets, shown
from gcnet.ablation.store.json_text import from_json, to_json
from gcnet.ablation.store.schema import check, create

WAIT = 60  # seconds, for the lock
CONNECT = 30  # seconds, for a server
LOCK = 0x67636E6574  # any number that others do not use


class Database:
    """A database with the tables of gcnet.

    Args:
        where: the file of SQLite, the URL of PostgreSQL, or None for one in memory.
        read_only: neither makes nor changes anything. The write that a killed process left half done is still undone,
            as by every reader of SQLite.

    Raises:
        FileNotFoundError: nothing to read.
        ValueError: no database, one of something else or of another version, no driver, or no answer.

    Example:
        >>> database = Database(None, read_only=False)
        >>> with database.reading() as connection:
        ...     connection.exec_driver_sql("SELECT version FROM gcnet_schema").scalar()
        1
    """

    def __init__(self, where: Path | URL | None, *, read_only: bool) -> None:
        self.name = "memory" if where is None else shown(where)
        self._secrets = [] if where is None else secrets(where)
        self.read_only = read_only
        self._engine = self._server(where) if isinstance(where, URL) else self._file(where)
        if not read_only:
            with self.writing() as connection:
                create(connection)
        with self.reading() as connection:
            check(connection)

    def _server(self, url: URL) -> Engine:
        options = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT}
        try:
            return create_engine(
                url, poolclass=NullPool, connect_args=options, json_serializer=to_json, json_deserializer=from_json
            )
        except ImportError:
            hint = 'PostgreSQL needs psycopg: pip install "gcnet[postgresql]"'
            raise ValueError(f"results={self.name}: {hint}") from None

    def _file(self, path: Path | None) -> Engine:
        target = ":memory:"
        if path is not None:
            if path.is_dir():
                raise ValueError(f"results={path}: a folder; name a file, such as {path / 'results.sqlite'}")
            if self.read_only and not path.exists():
                raise FileNotFoundError(f"results={path}: no such file")
            if not self.read_only:
                _writable(path)
            target = f"{path.resolve().as_uri()}?mode={'rw' if self.read_only else 'rwc'}"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(target, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)

        return create_engine(
            "sqlite://",
            creator=connect,
            poolclass=StaticPool if path is None else NullPool,
            json_serializer=to_json,
            json_deserializer=from_json,
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database.

        Raises:
            ValueError: the database is damaged or does not answer.
        """
        with self._transaction() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one connection that writes; everything is stored at the end, or nothing.

        Raises:
            ValueError: opened for reading, not writable, or others kept the lock for longer than 60 seconds.
        """
        if self.read_only:
            raise ValueError(
                f"results={self.name}: opened for reading only; name a SQLite file or a server to write to"
            )
        with self._transaction() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A transaction whose errors name the database, and no password."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, ValueError) as error:
            raise ValueError(f"results={self.name}: {self._reason(error)}") from None

    def _reason(self, error: Exception) -> str:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        return reason

    def close(self) -> None:
        """Give up what is held; only one in memory holds anything."""
        self._engine.dispose()


def _writable(path: Path) -> None:
    """Make the folder, and find out before hours of training what SQLite says only when it writes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"results={path}: cannot be written ({error.strerror})") from error
    for needed in (path.parent, path):  # the journal is beside the file
        if needed.exists() and not os.access(needed, os.W_OK):
            raise ValueError(
                f"results={path}: {needed} cannot be written; open it with read_only=True, or name another"
            )
