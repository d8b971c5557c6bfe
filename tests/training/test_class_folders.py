import pytest

from gcnet.training.class_folders import find_labelled


def _files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_folders_with_splits_of_their_own(tmp_path):
    root = _files(
        tmp_path, "train/a/1.mp4", "train/a/deep/2.MP4", "train/b/3.mp4", "val/a/4.mp4", "val/b/5.mp4", "notes.txt"
    )
    found = find_labelled(root, [".mp4"], "video", 0.2)
    assert found.classes == ("a", "b")
    assert [(path.name, label) for path, label in found.train] == [("1.mp4", 0), ("2.MP4", 0), ("3.mp4", 1)]
    assert [(path.name, label) for path, label in found.val] == [("4.mp4", 0), ("5.mp4", 1)]
    assert found.summary("video") == (
        f"3 training and 2 validation videos of 2 classes; 1 other files are not used (1 .txt), such as "
        f"{root}/notes.txt"
    )


def test_a_share_of_each_class_validates(tmp_path):
    root = _files(tmp_path, *(f"{name}/{index}.mp4" for name in "ab" for index in range(10)))
    found = find_labelled(root, [".mp4"], "video", 0.3)
    assert [sum(label == index for _, label in found.val) for index in (0, 1)] == [3, 3]
    assert not {path for path, _ in found.train} & {path for path, _ in found.val}
    assert found == find_labelled(root, [".mp4"], "video", 0.3)


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (["a.mp4"], FileNotFoundError, "holds no class folders; expected one folder per class with its videos"),
        (["a/1.mp4", "a/2.mp4"], ValueError, "one class only"),
        (["a/1.mp4", "a/2.mp4", "b/1.txt"], FileNotFoundError, r"b: class folder without videos \(.mp4\)"),
        (["a/1.mp4", "a/2.mp4", "b/1.mp4"], ValueError, "class 'b' holds one video; a class needs two or more"),
        (["train/a/1.mp4", "train/b/1.mp4"], FileNotFoundError, "neither val/ nor test/"),
        (["train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4"], ValueError, "class folder 'b' is missing"),
        (["training/1.mp4", "validation/1.mp4"], ValueError, "look like splits, not classes; name them train and val"),
    ],
)
def test_errors(tmp_path, files, error, message):
    with pytest.raises(error, match=message):
        find_labelled(_files(tmp_path, *files), [".mp4"], "video", 0.2)
