"""Query points: as written, as chosen."""

from itertools import product

import numpy as np
import pytest
import torch

from gcnet.analysis.capture.queries import cell_of
from gcnet.analysis.figures.points import choose_points, parse_points


def test_pixels_are_met_at_their_centre():
    assert parse_points("0,0", (10, 20)) == ((0.05, 0.025),)
    assert parse_points(" 19,9 ; 3,4", (10, 20)) == ((0.95, 0.975), (0.45, 0.175))
    for y, x in product(range(5), range(7)):
        ((up, left),) = parse_points(f"{x},{y}", (5, 7))
        assert cell_of((up, left), (5, 7)) == (y, x)


def test_shares_are_taken_as_they_are():
    assert parse_points("0.0,1.0;0.25,.5", (10, 20)) == ((1.0, 0.0), (0.5, 0.25))
    assert cell_of((1.0, 0.0), (10, 20)) == (9, 0)


def test_points_of_clips_begin_with_the_frame():
    assert parse_points("2,5,0", (4, 10, 20)) == ((0.625, 0.05, 0.275),)
    assert parse_points("0.5,0.1,0.9", (4, 10, 20)) == ((0.5, 0.9, 0.1),)


@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        ("1,1;5,0.5", (10, 20), "'5,0.5' mixes pixels and shares; give integers, such as 10,5"),
        ("20,1", (10, 20), "'20,1' is out of range: x=20, but x goes from 0 to 19"),
        ("1,-1", (10, 20), "'1,-1' is out of range: y=-1, but y goes from 0 to 9"),
        ("0.1,1.5", (10, 20), "'0.1,1.5' is out of range: y=1.5, but shares go from 0.0 to 1.0"),
        ("nan.,0.5", (10, 20), "'nan.,0.5' is no point"),
        ("1", (10, 20), "'1' is no point; give x,y, such as 10,5"),
        ("1,1;", (10, 20), "'' is no point"),
        ("1,1", (4, 10, 20), "'1,1' is no point; give t,x,y, such as 2,10,5"),
        ("4,1,1", (4, 10, 20), "t=4, but t goes from 0 to 3"),
        ("a,b", (10, 20), "'a,b' is no point; give numbers"),
    ],
)
def test_errors_name_the_point(text, size, message):
    with pytest.raises(ValueError, match=r"^queries: ") as error:
        parse_points(text, size)
    assert message in str(error.value)


def farthest(features, places):
    """The rule, pair by pair."""
    unit = [vector / np.linalg.norm(vector) for vector in features]
    mean = np.mean(unit, axis=0)
    chosen = [min(range(len(unit)), key=lambda i: unit[i] @ mean)]
    while len(chosen) < 3:

        def apart(i):
            return min((1.001 - unit[i] @ unit[j]) * np.linalg.norm(places[i] - places[j]) for j in chosen)

        chosen.append(max(range(len(unit)), key=apart))
    return [tuple(places[i]) for i in chosen]


def test_chosen_points_are_far_in_place_and_content():
    features = torch.randn(6, 7, 8, dtype=torch.float64)
    inner = features[:, 1:-1, 1:-1].flatten(1).T.numpy()
    places = np.array([((y + 0.5) / 7, (x + 0.5) / 8) for y, x in product(range(1, 6), range(1, 7))])
    np.testing.assert_allclose(choose_points(features), farthest(inner, places))
    assert choose_points(features) == choose_points(features.clone())


def test_every_content_is_met_once():
    features = torch.zeros(3, 12, 12)
    features[0], features[1, 2:5, 2:5], features[2, 7:10, 7:10] = 1, 50, 50
    cells = [cell_of(point, (12, 12)) for point in choose_points(features)]
    assert {int(features[:, y, x].argmax()) for y, x in cells} == {0, 1, 2}


def test_features_that_do_not_differ_leave_places_that_do():
    points = choose_points(torch.ones(4, 2, 9, 9))
    assert len(set(points)) == 3
    assert len(choose_points(torch.ones(4, 1, 1))) == 1
