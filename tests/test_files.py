"""A file appears whole or not at all."""

import pytest

from gcnet.files import whole_file


def test_the_old_file_stays_if_anything_fails(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_text("old")

    def write_half():
        with whole_file(path) as partial:
            partial.write_text("half")
            raise KeyError("midway")

    with pytest.raises(KeyError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_those_of_the_file_replaced_or_of_a_new_one(tmp_path):
    path, plain = tmp_path / "weights.pth", tmp_path / "plain"
    plain.write_text("")
    with whole_file(path) as partial:
        assert partial.suffix == ".pth"
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    with whole_file(path) as partial:
        partial.write_text("new")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "missing" / "a.pth"):
        pass
