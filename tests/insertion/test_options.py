"""Options of blocks from text."""

import pytest

from gcnet.insertion.options import parse_options


def test_python_values_or_text():
    assert parse_options(("scale=None", "style=caffe", "norm_eps=1e-6")) == {
        "scale": None,
        "style": "caffe",
        "norm_eps": 1e-6,
    }


@pytest.mark.parametrize("pairs", [("scale",), ("=1",), ("a=1", "a=2")])
def test_what_is_no_option_is_named(pairs):
    with pytest.raises(ValueError, match=r"block_options '.*' is not NAME=VALUE, or given twice"):
        parse_options(pairs, "block_options")
