"""Strips: frames, and the maps of their time below."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from gcnet.analysis.figures import attention_strip
from tests.analysis.figures.shots import one_hot, panels, pixels, row_of

CLIP = torch.full((3, 4, 24, 32), 128, dtype=torch.uint8)


def test_the_map_of_a_step_lies_over_its_frames():
    figure = attention_strip([row_of(CLIP, one_hot((2, 3, 4), (1, 2, 0)), (0.9, 0.5, 0.5))])
    axes = panels(figure)
    assert [cell.get_title() for cell in axes] == ["0", "1", "2", "3", "0%", "0%", "50%", "50%"]
    for index, cell in enumerate(axes[4:]):
        shot = pixels(figure, cell)
        lit = (np.ptp(shot, axis=2) > 30) & (shot[..., 0] > shot[..., 2])
        height, width = lit.shape
        assert lit.any() == (index >= 2)
        assert not lit[: int(0.6 * height)].any()
        assert not lit[:, int(0.3 * width) :].any()
        blue = np.abs(shot - (86, 180, 233)).sum(2) < 30
        assert blue.any() == (index == 3)


def test_frames_beyond_the_keys_are_left_alone():
    figure = attention_strip([row_of(CLIP, one_hot((1, 3, 4), (0, 0, 0), reach=(0.5, 1.0, 1.0)))])
    assert [cell.get_title() for cell in panels(figure)[4:]] == ["50%", "50%", "", ""]
    assert [len(cell.images) for cell in panels(figure)[4:]] == [2, 2, 1, 1]


def test_weights_that_are_no_shares_have_none():
    found = one_hot((2, 3, 4), (0, 0, 0))
    found = type(found)(-found.weights, found.keys, found.reach, softmax=False)
    assert [cell.get_title() for cell in panels(attention_strip([row_of(CLIP, found)]))[4:]] == [""] * 4


@pytest.mark.parametrize(("width", "frames"), [(8.5, 5), (17.0, 8)])
def test_long_clips_show_as_many_frames_as_fit(width, frames):
    clip = torch.zeros(3, 50, 8, 8, dtype=torch.uint8)
    figure = attention_strip([clip, clip], width=width)
    axes = panels(figure)
    assert len(axes) == 2 * frames
    assert (axes[0].get_title(), axes[frames - 1].get_title()) == ("0", "49")


def test_images_are_no_clips():
    with pytest.raises(ValueError, match="images are for attention_figure"):
        attention_strip([CLIP[:, 0]])
    with pytest.raises(ValueError, match="images are for attention_figure"):
        attention_strip([])
