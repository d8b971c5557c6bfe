import json
import os

import pytest
import torch

from gcnet.benchmarks import cases, cli, environment
from gcnet.benchmarks.parity import ParityError
from gcnet.benchmarks.results import from_json
from tests.benchmarks import made_up


@pytest.fixture
def asked(monkeypatch):
    """The arguments that the runner got; it answers with a run that never was."""
    seen = {}

    def run(chosen, names, settings, progress):
        seen.update(cases=[case.name for case in chosen], names=names, settings=settings)
        progress("working")
        return made_up.run()

    monkeypatch.setattr(cli, "run", run)
    return seen


def test_a_table_on_stdout_and_progress_on_stderr(asked, capsys):
    assert cli.bench(["--case", "gc/c2/*", "--case", "se/c2/forward", "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("gcnet bench on Example(R) CPU 9")
    assert printed.err == "working\n"
    assert asked["cases"] == ["gc/c2/forward", "gc/c2/forward+backward", "se/c2/forward"]
    assert asked["names"] is None
    assert asked["settings"].rounds == 20


def test_without_patterns_everything_runs_but_quick_takes_a_few(asked):
    assert cli.bench(["--device", "cpu"]) == 0
    assert len(asked["cases"]) == len(cases.select([], "cpu"))
    assert cli.bench(["--device", "cpu", "--quick", "--vs", "eager, copy"]) == 0
    assert 0 < len(asked["cases"]) < 10
    assert asked["settings"].quick
    assert asked["settings"].rounds < 20
    assert asked["names"] == ("eager", "copy")


def test_json(asked, capsys):
    assert cli.bench(["--device", "cpu", "--json"]) == 0
    assert from_json(capsys.readouterr().out) == made_up.run()


def test_files(asked, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    assert cli.bench(["--device", "cpu", "--out", str(tmp_path / "results"), "--name", "all"]) == 0
    folder = tmp_path / "results" / "example-cpu-9-4-cores"
    assert {path.name for path in folder.iterdir()} == {"all.json", "all.txt", "all.png"}
    assert from_json((folder / "all.json").read_text()) == made_up.run()
    assert (folder / "all.txt").read_text() == capsys.readouterr().out


def test_without_matplotlib_the_rest_is_written(asked, capsys, tmp_path, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.bench(["--device", "cpu", "--out", str(tmp_path)]) == 0
    assert sorted(path.suffix for path in tmp_path.glob("*/*")) == [".json", ".txt"]
    assert 'pip install "gcnet[train]"' in capsys.readouterr().err


def test_failed_parity_reports_nothing(monkeypatch, capsys, tmp_path):
    def run(*args, **kwargs):
        raise ParityError("gc/a/forward: timm computes something else")

    monkeypatch.setattr(cli, "run", run)
    assert cli.bench(["--device", "cpu", "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: gc/a/forward: timm computes something else\n"
    assert not list(tmp_path.iterdir())


def test_list(capsys):
    assert cli.bench(["--list", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(cases.select([], "cpu"))
    assert "gc/c3-add-scale/forward" in "\n".join(lines)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--case", "gc/tiny/foward"], "case 'gc/tiny/foward' matches nothing on cpu. Did you mean 'gc/tiny/forward'"),
        (["--case", "cbam/*"], "--list names them all"),
        (["--vs", "mmvc"], "there is no contestant 'mmvc'; did you mean 'mmcv'? there are mmcv, timm"),
        (["--vs", "gcnet"], "gcnet is in every run already"),
        (["--repeats", "2"], "repeats=2: quartiles need at least 3"),
        (["--threads", "-1"], "threads=-1 must be at least 1"),
        (["--device", "gpu"], "device='gpu' is not one of 'cpu', 'cuda'"),
        (["--graphs"], "needs --device cuda"),
        (["--name", "a/b"], "name='a/b'"),
    ],
)
def test_errors(argv, message, capsys):
    argv = argv if "--device" in argv else [*argv, "--device", "cpu"]
    assert cli.bench(argv) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(capsys):
    assert cli.bench(["--device", "cuda"]) == 2
    assert "PyTorch sees no GPU here; use --device cpu" in capsys.readouterr().err


def test_a_file_where_the_folder_should_be(asked, capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    assert cli.bench(["--device", "cpu", "--out", str(tmp_path / "taken")]) == 2
    assert "taken" in capsys.readouterr().err
    assert not asked


class Started(Exception):
    pass


def test_the_tuned_allocator_starts_the_program_again(asked, monkeypatch):
    monkeypatch.setattr(cli.platform, "libc_ver", lambda: ("glibc", "2.36"))
    for name in environment.TUNED_ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    seen = []

    def execve(program, command, variables):
        seen.append((command[1:], variables))
        raise Started

    monkeypatch.setattr(os, "execve", execve)
    argv = ["--tuned-allocator", "--case", "gc/*", "--device", "cpu"]
    with pytest.raises(Started):
        cli.bench(argv)
    ((command, variables),) = seen
    assert command == ["-m", "gcnet.cli", "bench", *argv]
    assert variables.items() >= environment.TUNED_ALLOCATOR.items()
    assert environment.is_tuned(variables)

    for name, value in environment.TUNED_ALLOCATOR.items():
        monkeypatch.setenv(name, value)
    assert cli.bench(argv) == 0
    assert asked["cases"]
    assert environment.environment("cpu").allocator == "tuned"


def test_the_tuned_allocator_needs_glibc(asked, monkeypatch, capsys):
    for name in environment.TUNED_ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli.platform, "libc_ver", lambda: ("", ""))
    assert cli.bench(["--tuned-allocator", "--device", "cpu"]) == 2
    assert "sets glibc's allocator" in capsys.readouterr().err


def test_a_real_run_in_small(monkeypatch, capsys):
    small = tuple(case.shrunk() for case in cases.select(["gc/tiny/*"], "cpu"))
    monkeypatch.setattr(cli, "select", lambda patterns, device: list(small))
    assert cli.bench(["--quick", "--vs", "published,copy", "--json", "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in document["results"]] == [case.name for case in small]
    assert document["settings"]["quick"]
