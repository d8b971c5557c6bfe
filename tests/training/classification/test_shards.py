"""Shards are found, counted once, and their classes known."""

import dataclasses
import json

import pytest

pytest.importorskip("webdataset")

from gcnet.recipes.classification import classification
from gcnet.training.classification import shards as module
from gcnet.training.classification.shards import find_shards, has_shards
from tests.training.classification.photos import encoded, picture, write_shard, write_shards

PNG = encoded(picture("red", 0, size=(2, 2)))


def named(labels, first=0):
    return {f"{first + index:03}": {"png": PNG, "cls": str(label).encode()} for index, label in enumerate(labels)}


def test_found_in_a_folder_and_counted_once(tmp_path, monkeypatch):
    config = classification(write_shards(tmp_path))
    assert has_shards(config)
    found = find_shards(config)
    assert found.classes == ("blue", "red")
    assert list(found.train.values()) == [7, 5, 8, 4]
    assert list(found.val.values()) == [5, 4]
    assert found.summary == "24 training and 9 validation images of 2 classes in 4 and 2 shards"
    assert json.loads((tmp_path / "sizes.json").read_text())["train-002.tar"] == 8
    assert (tmp_path / "classes.txt").read_text() == "blue\nred\n"
    monkeypatch.setattr(module, "read_shard", None)
    assert find_shards(config) == found


def test_folders_of_splits_and_test_shards(tmp_path):
    for split, name in (("train", "train/0.tar"), ("test", "test/0.tar")):
        write_shard(tmp_path / name, named("ab") if split == "train" else named("a"))
    found = find_shards(classification(tmp_path))
    assert found.classes == ("a", "b")
    assert json.loads((tmp_path / "sizes.json").read_text()) == {"train/0.tar": 2, "test/0.tar": 1}


def test_patterns(tmp_path):
    write_shards(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    config = dataclasses.replace(
        classification(tmp_path / "data"),
        train_shards=str(tmp_path / "elsewhere/train-{000..002}.tar"),
        val_shards="../elsewhere/val-00{0,1}.tar",
    )
    found = find_shards(config)
    assert list(found.train.values()) == [7, 5, 8]
    assert list(found.val.values()) == [5, 4]


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("train-{000..009}.tar", FileNotFoundError, r"train-004\.tar does not exist and 5 more"),
        ("train-{000..002.tar", ValueError, r"train_shards=.*expected such as train-\{000\.\.099\}\.tar"),
        ("{pipe:cat train-000,a}.tar", ValueError, "commands are not run; give paths or URLs"),
    ],
)
def test_patterns_that_cannot_be(tmp_path, pattern, error, message):
    config = classification(write_shards(tmp_path))
    with pytest.raises(error, match=message):
        find_shards(dataclasses.replace(config, train_shards=pattern, val_shards="val-000.tar"))


def test_numbers_are_classes_up_to_the_largest(tmp_path):
    write_shard(tmp_path / "train.tar", named([0, 2, 11]))
    write_shard(tmp_path / "val.tar", named([2]))
    assert find_shards(classification(tmp_path)).classes == tuple(map(str, range(12)))


def test_names_given_beforehand(tmp_path):
    write_shard(tmp_path / "train.tar", named([0, 1]))
    write_shard(tmp_path / "val.tar", named([1]))
    (tmp_path / "classes.txt").write_text("daisy\nrose\n")
    assert find_shards(classification(tmp_path)).classes == ("daisy", "rose")
    (tmp_path / "classes.txt").write_text("daisy\ndaisy\n")
    with pytest.raises(ValueError, match=r"classes\.txt: names the class 'daisy' twice"):
        find_shards(classification(tmp_path))


def test_broken_samples_are_found_while_counting(tmp_path):
    samples = named("aabbb")
    samples["001"]["png"] = b"junk"
    del samples["003"]["cls"]
    write_shard(tmp_path / "train.tar", samples)
    write_shard(tmp_path / "val.tar", named("ab"))
    config = classification(tmp_path)
    with pytest.raises(ValueError, match=r"train\.tar: 001: cannot be read as an image .* Repair or remove it"):
        find_shards(config)
    with pytest.raises(ValueError, match=r"train\.tar: 003: has no label"):
        find_shards(dataclasses.replace(config, check_files=False))
    found = find_shards(dataclasses.replace(config, on_broken="skip"))
    assert found.classes == ("a", "b")
    assert sum(found.train.values()) == 5


def test_without_validation(tmp_path):
    write_shard(tmp_path / "train.tar", named("ab"))
    with pytest.raises(FileNotFoundError, match=r"neither val\*\.tar nor test\*\.tar"):
        find_shards(classification(tmp_path))


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ("ab", "abc", "class 'c' of the validation shards is in no training shard"),
        ("aa", "a", "one class only"),
        ("ab", "", "val.tar: holds no samples"),
    ],
)
def test_classes_and_samples_that_cannot_be(tmp_path, train, val, message):
    write_shard(tmp_path / "train.tar", named(train))
    write_shard(tmp_path / "val.tar", named(val))
    with pytest.raises(ValueError, match=message):
        find_shards(classification(tmp_path))


def test_damaged_files_are_named(tmp_path):
    config = classification(write_shards(tmp_path))
    found = find_shards(config)
    found.check()
    (tmp_path / "val-001.tar").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"val-001\.tar: is no tar archive"):
        found.check()
    (tmp_path / "sizes.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"sizes\.json: is no table .* remove it"):
        find_shards(config)


def test_a_folder_that_cannot_be_written_is_counted_every_time(tmp_path, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "whole_file", refuse)
    assert find_shards(classification(write_shards(tmp_path))).classes == ("blue", "red")
    assert "cannot be kept (Permission denied)" in capsys.readouterr().out


def test_more_than_there_is(tmp_path):
    config = dataclasses.replace(classification(write_shards(tmp_path)), batch_size=25)
    with pytest.raises(ValueError, match="batch_size=25 is more than the 24 training samples"):
        find_shards(config).train_loader(None, config)
