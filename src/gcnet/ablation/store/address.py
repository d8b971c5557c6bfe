"""Where results are: a path or the URL of a server, read without letting a password out."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

EXAMPLES = "give a file such as results.sqlite, or a URL such as postgresql://user@host/database"
POSTGRESQL = ("postgres", "postgresql", "postgresql+psycopg")
SECRETS = ("password", "sslpassword")  # options of a URL


def read_address(results: str | Path) -> Path | URL:
    """A file (SQLite, or JSON Lines by the suffix .jsonl) or the URL of a PostgreSQL server.

    Raises:
        ValueError: another database, one in memory, or a URL that cannot be read.

    Example:
        >>> read_address("sqlite:///results.sqlite").name
        'results.sqlite'
        >>> read_address("postgres://ann@host/team").drivername
        'postgresql+psycopg'
    """
    if isinstance(results, Path) or "://" not in results:
        if Path(results).parts[:1] and Path(results).parts[0] in ("sqlite:", *(f"{name}:" for name in POSTGRESQL)):
            raise ValueError("results: a URL has to be given as text, not as a Path")
        return Path(results)
    try:
        url = make_url(results)
    except (ArgumentError, ValueError):  # whose text may show a password
        raise ValueError(f"results: a URL that cannot be read; {EXAMPLES}") from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if url.query or url.host or url.database in (None, "", ":memory:"):
            raise ValueError(f"results={url.render_as_string()}: sqlite:///FILE is all that is possible; {EXAMPLES}")
        return Path(str(url.database))
    if url.drivername not in POSTGRESQL:
        raise ValueError(f"results={url.drivername}://...: neither SQLite nor PostgreSQL; {EXAMPLES}")
    if "@" in f"{url.host}{url.database}":
        raise ValueError("results: write @ in a password as %40, / as %2F and : as %3A")
    return url.set(drivername="postgresql+psycopg")


def shown(where: Path | URL) -> str:
    """An address as errors and reports may show it."""
    if isinstance(where, Path):
        return str(where)
    return where.difference_update_query(SECRETS).render_as_string(hide_password=True)


def secrets(where: Path | URL) -> list[str]:
    """What no error may show."""
    if isinstance(where, Path):
        return []
    options = [str(where.query[name]) for name in SECRETS if name in where.query]
    return [secret for secret in (where.password, *options) if secret]


def without_password(results: str | Path) -> str:
    """An address as it may be printed and stored, as in the command of a study.

    Raises:
        ValueError: as :class:`gcnet.ablation.store.Store`.

    Example:
        >>> without_password("postgresql+psycopg://ann:secret@host/team")
        'postgresql+psycopg://ann:***@host/team'
        >>> without_password("results.sqlite")
        'results.sqlite'
    """
    return shown(read_address(results))
