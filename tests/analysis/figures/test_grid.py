"""The figure: what lies over which pixel."""

import dataclasses

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from gcnet.analysis.figures import attention_figure
from gcnet.analysis.figures.grid import AttentionRow
from tests.analysis.figures.shots import one_hot, panels, pixels, row_of

GREY = torch.full((3, 40, 60), 128, dtype=torch.uint8)


def where(mask):
    """First and last share of height and width that a mask covers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    return rows[0] / height, (rows[-1] + 1) / height, columns[0] / width, (columns[-1] + 1) / width


@pytest.mark.parametrize("width", [8.5, 17.0])
def test_a_cell_lies_over_its_pixels(width):
    shot = pixels(*last_panel(attention_figure([row_of(GREY, one_hot((4, 6), (1, 4)))], width=width)))
    bright = np.ptp(shot, axis=2) > 30  # of grey and near black, no colour is far from another
    assert where(bright) == pytest.approx((1 / 4, 2 / 4, 4 / 6, 5 / 6), abs=0.015)
    assert bright.mean() == pytest.approx(1 / 24, abs=0.005)


def last_panel(figure):
    return figure, panels(figure)[-1]


def test_keys_that_leave_a_rest_cover_their_part():
    found = one_hot((3, 3), (2, 2), reach=(6 / 7, 6 / 7))
    shot = pixels(*last_panel(attention_figure([row_of(GREY, found)])))
    bright = np.ptp(shot, axis=2) > 30  # of grey and near black, no colour is far from another
    assert where(bright) == pytest.approx((4 / 7, 6 / 7, 4 / 7, 6 / 7), abs=0.015)


def test_the_cross_is_where_the_query_is():
    figure = attention_figure([row_of(GREY, one_hot((4, 6), (3, 0)), (0.25, 0.75))])
    for axes in panels(figure)[:2]:
        shot = pixels(figure, axes)
        height, width = shot.shape[:2]
        blue = np.abs(shot - (86, 180, 233)).sum(2) < 30
        assert np.argwhere(blue).mean(0) / (height, width) == pytest.approx((0.25, 0.75), abs=0.02)
        red = (shot[..., 0] > 150) & (shot[..., 1] < 100) & (shot[..., 2] < 100)
        assert not red.any()


def test_a_row_has_one_scale_and_says_what_it_counts():
    weak = one_hot((4, 6), (0, 0))
    strong = dataclasses.replace(weak, weights=2 * weak.weights)
    row = row_of(GREY, weak)
    row = dataclasses.replace(row, panels=(row.panels[0], dataclasses.replace(row.panels[0], map=strong)))
    figure = attention_figure([row, row_of(GREY, weak)])
    limits = [axes.images[-1].get_clim() for axes in panels(figure) if len(axes.images) == 2]
    assert limits == [(0, 48), (0, 48), (0, 24)]
    texts = [axes.get_title("left") for axes in figure.axes] + [axes.get_title() for axes in figure.axes]
    assert texts.count("\N{MULTIPLICATION SIGN} uniform") == 1
    assert texts.count("query 1") == 3  # headings of the first row, and of the second, which has others


def test_negative_weights_have_their_own_colours_around_zero():
    found = one_hot((4, 6), (0, 0))
    found.weights[3, 5] = -7
    (image,) = last_panel(attention_figure([row_of(GREY, found)]))[1].images[1:]
    assert image.get_clim() == (-24, 24)
    assert image.get_cmap().name != "inferno"


@pytest.mark.parametrize("width", [8.5, 17.0])
def test_text_is_of_one_size_and_within_the_figure(width):
    rows = [row_of(GREY, one_hot((4, 6), (0, 0)), (0.01, 0.99)) for _ in range(2)]
    figure = attention_figure(rows, width=width, title="Attention")
    assert figure.get_figwidth() * 2.54 <= width + 1e-6
    shot = pixels(figure)
    assert (shot[:, -1] == 255).all()
    assert (shot[:2] == 255).all()
    assert {axes.title.get_fontsize() for axes in figure.axes if axes.get_title()} == {7}


def test_pictures_of_different_shapes_keep_theirs():
    tall = torch.zeros(3, 60, 30, dtype=torch.uint8)
    figure = attention_figure([row_of(GREY, one_hot((4, 6), (0, 0))), row_of(tall, one_hot((6, 3), (0, 0)))])
    boxes = [axes.get_window_extent() for axes in panels(figure)]
    assert [box.height / box.width for box in boxes] == pytest.approx([2 / 3, 2 / 3, 2, 2])


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="clips are for attention_strip"):
        attention_figure([])
    clip = torch.zeros(3, 2, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match="clips are for attention_strip"):
        attention_figure([AttentionRow(clip, (), (), one_hot((2, 4, 4), (0, 0, 0)))])
    with pytest.raises(ValueError, match="width=2 cm is too narrow for 2 panels"):
        attention_figure([row_of(GREY, one_hot((4, 6), (0, 0)))], width=2)
