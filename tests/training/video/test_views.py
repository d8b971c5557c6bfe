import pytest
import torch

from gcnet.training.video.views import Views, even_crops, even_starts


def test_views_are_read():
    assert Views.parse("10x3") == (10, 3)
    for text in ("10", "0x3", "3x", "axb", "1x1x1", " 1x1"):
        with pytest.raises(ValueError, match=r"views=.* must be clips x crops, such as 1x1 or 10x3"):
            Views.parse(text)


def test_clips_are_even():
    assert even_starts(9.0, 10) == list(range(10))
    assert even_starts(9.0, 1) == [4.5]
    assert even_starts(0.0, 3) == [0, 0, 0]


@pytest.mark.parametrize("tall", [False, True])
def test_crops_go_along_the_longer_side(tall):
    frame = torch.arange(10).expand(4, 10)
    crops = even_crops((frame.T if tall else frame)[None, None], 4, 3)
    assert crops.shape == (3, 1, 1, 4, 4)
    lines = crops[:, 0, 0, :, 0] if tall else crops[:, 0, 0, 0]
    assert lines.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]


def test_a_square_has_one_crop_several_times():
    crops = even_crops(torch.rand(3, 5, 5), 5, 3)
    assert all(torch.equal(crop, crops[0]) for crop in crops)
