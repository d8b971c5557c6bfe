"""Dispatch of the command line."""

import sys

import pytest

from gcnet import cli


def test_help_lists_every_verb(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in cli.VERBS)


def test_no_verb_is_an_error(capsys):
    assert cli.main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_unknown_verb_names_the_nearest(capsys):
    assert cli.main(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_version(capsys):
    import gcnet

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"gcnet {gcnet.__version__}\n"


ARGUMENTS = {
    "ablate": ["block", "--dry-run"],
    "audit": ["resnet18", "--data", "photos"],
    "attend": ["runs/classification/001", "a.png"],
    "bench": ["--list"],
    "collapse": ["runs/classification/001"],
    "convert": ["--list"],
    "cost": ["resnet50"],
    "data": ["make", "scenes", "--task", "detection"],
    "demo": [],
    "evaluate": ["runs/classification/001"],
    "explore": ["resnet18"],
    "export": ["resnet18", "out.pt2", "--to", "pt2"],
    "predict": ["runs/classification/001", "a.png"],
    "recipes": [],
    "train": ["classification", "--data", "photos"],
    "verify": ["a.pth", "b.pth"],
}


@pytest.mark.parametrize("verb", cli.VERBS)
def test_missing_extra_says_what_to_install(verb, monkeypatch, capsys):
    entry = cli.VERBS[verb]
    for name in [name for name in sys.modules if name.startswith(entry.module)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tyro", None)
    assert cli.main([verb, *ARGUMENTS[verb]]) != 0
    assert f"gcnet[{entry.extra}]" in capsys.readouterr().err


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    assert "usage" in capsys.readouterr().out.lower()
