"""Seeds of the command line."""

import pytest

from gcnet.ablation.seeds import parse_seeds, show_seeds


@pytest.mark.parametrize("text", ["5", "1", "3-7", "7-7", "0-1,5", "4,6-8"])
def test_what_is_shown_is_read_back(text):
    assert show_seeds(parse_seeds(text)) == text


def test_a_trailing_comma_makes_one_seed_a_list():
    assert parse_seeds("5,") == (5,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be how many"),
        ("many", "must be how many"),
        ("-3", "must be how many"),
        ("0", "at least one"),
        ("1,1", "stands twice"),
        ("0-3,2", "stands twice"),
        ("7-3", "run backwards"),
        ("20261129", "more than 1000 runs of every variant; seed 20261129 alone is 20261129-20261129"),
        ("0-5000000", "more than 1000"),
    ],
)
def test_others_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parse_seeds(text)
