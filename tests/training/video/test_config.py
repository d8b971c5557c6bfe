import pytest

from tests.training.video.settings import settings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decoder": "pyaw"}, "did you mean 'pyav'"),
        ({"frames": 0}, "frames=0 must be at least 1"),
        ({"stride": 0}, "stride=0 must be at least 1"),
        ({"views": "10"}, "views='10' must be clips x crops"),
        ({"crop": 224, "short_side": (200, 320)}, r"short_side=\(200, 320\) must increase from crop=224 .* 256, 320"),
        ({"short_side": (20, 18)}, r"short_side=\(20, 18\) must increase from crop=16"),
        ({"frame_rate": 0.0}, "frame_rate=0.0 must be positive"),
        ({"val_fraction": 1.0}, "val_fraction=1.0 must lie between 0 and 1"),
        ({"dropout": 1.0}, "dropout=1.0 must be at least 0 and below 1"),
        ({"val_list": "val.txt"}, "val_list=val.txt needs train_list as well"),
    ],
)
def test_errors(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        settings(tmp_path, **fields)
