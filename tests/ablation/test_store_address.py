"""What is no place for results, and that no error shows a password."""

import builtins
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import pytest
from sqlalchemy import make_url

from gcnet.ablation.store import Store, without_password
from tests.ablation.stored import make_row

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sqlite://", "sqlite:///FILE is all"),
        ("sqlite:///:memory:", "sqlite:///FILE is all"),
        ("sqlite:///a.sqlite?mode=ro", "sqlite:///FILE is all"),
        (f"mysql://me:{SECRET}@host/db", r"mysql://\.\.\.: neither SQLite nor PostgreSQL"),
        (f"postgresql+asyncpg://me:{SECRET}@host/db", "neither SQLite nor PostgreSQL"),
        (f"postgresql://me:{SECRET}@more@host/db", "write @ in a password as %40"),
        (f"postgresql://me:a@{SECRET}:{SECRET}@host/db", "cannot be read"),
        (f"postgresql:/{SECRET}://", "cannot be read"),
        (Path(f"postgresql://me:{SECRET}@host/db"), "as text, not as a Path"),
        (
            f"postgresql://me:{SECRET}@127.0.0.1:1/db",
            r"results=postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/db: .*refused",
        ),
        (f"postgres://127.0.0.1:1/db?user=me&password={SECRET}", "results=.*refused"),
        (f"postgresql://me:{SECRET}@/db?host=/nowhere&no_option=1", "results=.*no_option"),
    ],
)
def test_addresses_that_cannot_be(address, message, caplog, capsys):
    caplog.set_level("DEBUG")
    with pytest.raises(ValueError, match=message) as caught:
        Store(address)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capsys.readouterr())
    assert SECRET not in shown


def test_a_password_is_hidden_wherever_it_is():
    url = f"postgresql://me:{SECRET}@host/db?password={SECRET}&sslmode=require"
    assert without_password(url) == "postgresql+psycopg://me:***@host/db?sslmode=require"
    assert without_password("runs/results.sqlite") == "runs/results.sqlite"


def test_a_server_that_refuses_or_is_gone(postgresql_url, caplog):
    caplog.set_level("DEBUG")
    with Store(postgresql_url) as store:
        assert "***" in repr(store)
        assert make_url(postgresql_url).password not in repr(store)
    for change in ({"password": SECRET}, {"database": "nowhere"}):
        wrong = make_url(postgresql_url).set(**change).render_as_string(hide_password=False)
        with pytest.raises(ValueError, match="results=postgresql") as caught:
            Store(wrong)
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert SECRET not in shown
        assert make_url(wrong).password not in shown


def test_a_missing_driver(monkeypatch):
    imported = builtins.__import__

    def without(name, *arguments, **options):
        if name == "psycopg":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r'psycopg: pip install "gcnet\[postgresql\]"'):
        Store(f"postgresql://me:{SECRET}@host/db")


def test_missing_sqlalchemy():
    code = (
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'sqlalchemy' else found(name, *rest)\n"
        "import gcnet.ablation.store"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'results need sqlalchemy: pip install "gcnet[ablation]"' in done.stderr


@pytest.mark.parametrize("read_only", [False, True])
def test_files_that_hold_no_results(tmp_path, read_only):
    text = tmp_path / "notes.sqlite"
    text.write_text("not a database, but quite long. " * 100)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE experiments (name)")
    connection.close()
    content = other.read_bytes()
    for path, message in (
        (text, "not a database"),
        (other, "experiments|no results"),
        (tmp_path, "a folder; name a file"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            Store(path, read_only=read_only)
        assert str(path) in str(caught.value)
    assert other.read_bytes() == content


def test_a_damaged_file(tmp_path):
    path = tmp_path / "results.sqlite"
    with Store(path) as store:
        for number in range(50):
            store.add(make_row(f"{number}"))
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"results={path}: "):
        Store(path).rows()


@pytest.fixture
def unprivileged_folder():
    """A folder whose rights count: root is someone else meanwhile."""
    folder = Path(tempfile.mkdtemp(prefix="gcnet-"))
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.setresuid(65534, 65534, 0)
    yield folder
    if root:
        os.setresuid(0, 0, 0)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700)
    shutil.rmtree(folder)


def test_a_file_that_cannot_be_written(unprivileged_folder):
    path = unprivileged_folder / "results.sqlite"
    with Store(path) as store:
        store.add(make_row())
    path.chmod(0o444)
    with pytest.raises(ValueError, match=f"results={path}: {path} cannot be written; open it with read_only=True"):
        Store(path)
    unprivileged_folder.chmod(0o555)
    with Store(path, read_only=True) as store:
        assert len(store.rows()) == 1
    for name in ("other.sqlite", "deeper/other.sqlite"):
        with pytest.raises(ValueError, match=f"results={unprivileged_folder / name}: .*cannot be written"):
            Store(unprivileged_folder / name)
    store = Store(path, read_only=True)
    store._database.read_only = False
    with pytest.raises(ValueError, match=f"results={path}: attempt to write a readonly database"):
        store.add(make_row("b"))
