"""Studies as results from elsewhere have them."""

import pytest

from gcnet.ablation.study import Study
from tests.ablation.made import make_study


@pytest.mark.parametrize("name", ["../../elsewhere", "/tmp/report", "a/b", "..", ""])
def test_a_name_is_one_folder(name):
    values = make_study("ratio", [0]).to_dict()
    assert Study.from_dict(values) == make_study("ratio", [0])
    with pytest.raises(ValueError, match="name="):
        Study.from_dict({**values, "name": name})
