"""A folder of two images, and a client of the explorer with two networks."""

import pytest


@pytest.fixture
def folder(tmp_path):
    from tests.explorer.networks import photo

    inside = tmp_path / "images"
    inside.mkdir()
    photo(0).save(inside / "a.png")
    photo(1).save(inside / "b.png")
    return inside


@pytest.fixture
def client(folder):
    from tests.explorer.asking import make_client
    from tests.explorer.networks import make_subject

    return make_client(folder, make_subject(), make_subject(1))
