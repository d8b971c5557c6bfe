"""Specifications as plain values, and what is refused when such values come from a file."""

import json
from fractions import Fraction

import pytest

import gcnet
from gcnet.blocks.plain import check_bounds, fields, spec_from_dict, spec_to_dict
from tests.blocks.cases import CASES, CHANNELS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_specifications_survive_json(case):
    for block in (case.build(), case.spec().build(CHANNELS)):
        spec = spec_from_dict(json.loads(json.dumps(spec_to_dict(block.specification))))
        assert spec == block.specification
        assert repr(spec.build(CHANNELS)) == repr(block)


def test_fractions_stay_exact():
    spec = gcnet.GlobalContext.spec(ratio=Fraction(1, 49))
    values = spec_to_dict(spec)
    assert values["options"]["ratio"] == "1/49"
    assert spec_from_dict(values).options["ratio"] == Fraction(1, 49)


def test_only_plain_options_of_our_blocks_are_written():
    class Own(gcnet.GlobalContext):
        pass

    with pytest.raises(ValueError, match="Own is not a block of gcnet"):
        spec_to_dict(Own.spec())
    with pytest.raises(ValueError, match="a complex"):
        spec_to_dict(gcnet.GlobalContext.spec(norm_eps=1j))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (3, "has the entries block, options; this one is 3"),
        ({"block": "GlobalContext"}, "this one has 'block'"),
        ({"block": "os.system", "options": {}}, "'os.system' is not one of 'BAM'"),
        ({"block": "GlobalContexts", "options": {}}, "did you mean 'GlobalContext'"),
        ({"block": ["a"], "options": {}}, "block=.* is no str"),
        ({"block": "GlobalContext", "options": {"poling": 1}}, "did you mean 'pooling'"),
        ({"block": "GlobalContext", "options": {"channels": 3}}, "no option 'channels'"),
        ({"block": "GlobalContext", "options": {"device": "cuda"}}, "no option 'device'"),
        ({"block": "GlobalContext", "options": {3: 4}}, "no option 3"),
        ({"block": "GlobalContext", "options": {"norm": "yes"}}, "norm='yes' of GlobalContext is no bool"),
        ({"block": "GlobalContext", "options": {"hidden": True}}, "hidden=True of GlobalContext is no int"),
        ({"block": "GlobalContext", "options": {"hidden": 10**30}}, "hidden=a huge number is beyond 1,048,576"),
        ({"block": "GlobalContext", "options": {"norm_eps": float("nan")}}, "norm_eps=nan is not finite"),
        ({"block": "GlobalContext", "options": {"ratio": 0.25, "hidden": 4}}, "not both"),
        ({"block": "GlobalContext", "options": {"ratio": "1/0"}}, "ratio='1/0' of GlobalContext is no"),
        ({"block": "GlobalContext", "options": {"init": "identity", "gate": "open"}}, "gate='open' is not one of"),
        ({"block": "SelectiveKernel", "options": {"branches": 1000}}, "branches=1000 is beyond 64"),
        ({"block": "NonLocal", "options": {"subsample_size": [1, [2]]}}, "subsample_size=.* is no int"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ValueError, match=message):
        spec_from_dict(values)


def test_bounds():
    check_bounds("n", [1, [2**20], "a"])
    for value in (2**20 + 1, [[-(2**20) - 1]], "a" * 5000, [1] * 5000, float("inf"), 10**400, 1e308, -1):
        with pytest.raises(ValueError, match="n"):
            check_bounds("n", value)


def test_fields_tell_bools_from_numbers():
    assert fields("thing", {"n": 3, "on": True}, n=int, on=bool) == (3, True)
    with pytest.raises(ValueError, match="n=True of a thing is no int"):
        fields("thing", {"n": True}, n=int)
