import pytest

from gcnet.training.data_files import expand


def _files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_inputs_are_files_or_folders_of_them(tmp_path):
    root = _files(tmp_path, "in/b.mp4", "in/a.MP4", "in/c.txt", "in/.hidden.mp4", "d.odd", "none/x.txt")
    assert [path.name for path in expand([root / "d.odd", root / "in"], [".mp4"], "video")] == [
        "d.odd",
        "a.MP4",
        "b.mp4",
    ]
    with pytest.raises(FileNotFoundError, match="none: folder without videos"):
        expand([root / "none"], [".mp4"], "video")
