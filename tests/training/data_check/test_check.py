"""What a folder is taken for, and arguments that make no sense."""

import pytest
from PIL import Image

from gcnet.training.data_check.check import check_data


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        check_data(tmp_path / "nowhere")


def test_folder_without_data(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="expected one folder per class"):
        check_data(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "detecton"}, "did you mean 'detection'"),
        ({"task": "detection"}, r"holds no annotations/\*\.json"),
        ({"task": "segmentation"}, "holds no train/images"),
        ({"workers": -1}, "workers=-1"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, options, message):
    (tmp_path / "cat").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cat" / "a.png")
    with pytest.raises(ValueError, match=message):
        check_data(tmp_path, **options)
