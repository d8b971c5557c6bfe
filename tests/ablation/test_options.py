"""Options of a run, and the command that repeats it."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from gcnet.ablation.bases import base_of
from gcnet.ablation.command import command_of
from gcnet.ablation.options import take_options
from gcnet.recipes.parsing import parse


def test_defaults():
    options, rest = take_options("block", [])
    assert (options.seeds, options.engine, options.jobs, options.retries, rest) == (
        (0, 1, 2, 3, 4),
        "local",
        None,
        2,
        [],
    )
    assert (options.out, options.db) == (Path("runs/ablations"), "runs/ablations/results.sqlite")


def test_results_lie_in_the_folder_of_the_runs():
    assert take_options("block", ["--out", "here"])[0].db == "here/results.sqlite"


def test_flags_stand_anywhere():
    options, rest = take_options("block", ["--dry-run", "--epochs", "3", "--report"])
    assert options.dry_run
    assert options.report
    assert rest == ["--epochs", "3"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("--seeds", "--seeds needs a number"),
        ("--seeds 2 --seeds 3", "--seeds stands twice"),
        ("--task detecton", "did you mean 'detection'"),
        ("--engine rya", "did you mean 'ray'"),
        ("--jobs two", "jobs='two' must be a whole number"),
        ("--jobs 0", "jobs=0 must be at least 1"),
        ("--gpus 1", "--gpus 1 goes with --engine ray"),
        ("--address auto", "goes with --engine ray"),
        ("--engine ray --retries -1", "retries=-1 must be at least 0"),
        ("--engine ray --cpus x", "cpus='x' must be a number"),
    ],
)
def test_mistakes_are_named(argv, said):
    with pytest.raises(ValueError, match=said):
        take_options("block", argv.split())


def test_cores_are_divided_among_runs_at_a_time():
    assert take_options("block", ["--jobs", "3"])[0].threads(8) == 2
    assert take_options("block", ["--jobs", "16"])[0].threads(8) == 1
    assert take_options("block", ["--engine", "ray", "--cpus", "4"])[0].threads(8) == 4


def test_the_command_gives_the_same_configuration():
    base = base_of("classification").config
    changed = replace(base, epochs=2, lr=1 / 3, crop_scale=(0.5, 1.0), loggers=(), weights="a file.pth", mirror=0.1)
    argv = ["--seeds", "3", "--variants", "gc,se", "--jobs", "2", "--db", "postgresql://u:secret@host/db"]
    options, _ = take_options("block", argv)
    command = command_of(options, base, changed, options.seeds)
    assert "secret" not in command
    assert "--jobs" not in command
    words = shlex.split(command)
    assert words[:3] == ["gcnet", "ablate", "block"]
    again, rest = take_options(words[2], words[3:])
    assert (again.seeds, again.variants) == (options.seeds, options.variants)
    assert parse("again", base, rest) == changed


def test_the_command_of_defaults_is_short():
    base = base_of("video").config
    options, _ = take_options("ratio", ["--task", "video"])
    assert command_of(options, base, base, options.seeds) == "gcnet ablate ratio --task video"
