import pytest

from gcnet.benchmarks.results import Run
from tests.benchmarks import made_up

pytest.importorskip("matplotlib")
from gcnet.benchmarks.figure import draw


def test_a_picture_is_written(tmp_path):
    draw(made_up.run(), tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_alone_there_is_nothing_to_draw(tmp_path):
    run = made_up.run()
    alone = Run(run.environment, run.settings, (made_up.result("gc/a/forward", {"gcnet": [1, 1, 1]}),))
    with pytest.raises(ValueError, match="gcnet ran alone; name contestants with --vs"):
        draw(alone, tmp_path / "bench.png")
