import pytest
import torch

from gcnet.benchmarks import peers, runner
from gcnet.benchmarks.cases import select
from gcnet.benchmarks.parity import ParityError
from gcnet.benchmarks.peers import Contestant
from gcnet.benchmarks.results import from_json, to_json
from gcnet.benchmarks.runner import Settings, run, turns

FAST = Settings("cpu", rounds=3, seconds=1e-6)


def _small(*names):
    return [case.shrunk() for case in select(names, "cpu")]


def test_a_run_holds_samples_memory_errors_and_reasons():
    done = run(_small("gc/tiny/*"), ["published", "eager", "reference", "copy", "plain"], FAST)
    assert [result.name for result in done.results] == ["gc/tiny/forward", "gc/tiny/forward+backward"]
    for result in done.results:
        assert list(result.timings) == ["gcnet", "published", "eager", "reference", "copy"]
        assert "floor of a block is copy" in result.absent["plain"]
        for name, timing in result.timings.items():
            assert len(timing.samples_ms) == 3
            assert min(timing.samples_ms) > 0
            assert (timing.error is None) == (name == "copy")
            assert timing.peak_bytes > 0 or name == "copy"
    timings = done.results[0].timings
    assert timings["eager"].ran == "eager"
    assert timings["reference"].ran == "reference"
    assert timings["published"].ran is None
    assert timings["gcnet"].ran is not None
    assert from_json(to_json(done)) == done


def test_the_usual_contestants_without_names():
    pytest.importorskip("torchvision")
    (done,) = run(_small("network/resnet50-batch8/forward"), None, FAST).results
    assert set(done.timings) | set(done.absent) == {"gcnet", "plain", "mmcv", "timm"}


def test_a_wrong_contestant_stops_the_run_before_anything_is_timed(monkeypatch):
    def wrong(case, ours):
        return Contestant("wrong", torch.nn.Tanh())

    monkeypatch.setitem(peers._PEERS, "wrong", wrong)
    told = []
    with pytest.raises(ParityError, match=r"gc/tiny/forward: wrong computes something else"):
        run(_small("se/c2/forward", "gc/tiny/forward"), ["published", "wrong"], FAST, told.append)
    assert told
    assert not any(line.startswith("timing") for line in told)


def test_a_contestant_that_breaks_down_is_named(monkeypatch):
    class Broken(torch.nn.Module):
        def forward(self, x):
            raise NotImplementedError("no such kernel\nand more")

    monkeypatch.setitem(peers._PEERS, "broken", lambda case, ours: Contestant("broken", Broken()))
    (done,) = run(_small("gc/tiny/forward"), ["broken", "copy"], FAST).results
    assert done.absent == {"broken": "NotImplementedError: no such kernel"}
    assert list(done.timings) == ["gcnet", "copy"]


def test_ours_may_not_break_down(monkeypatch):
    monkeypatch.setattr("gcnet.blocks.global_context.global_context", None)
    with pytest.raises(TypeError):
        run(_small("gc/tiny/forward"), ["copy"], FAST)


def test_the_log_of_the_choice_is_left_as_it_was(caplog):
    import logging

    logger = logging.getLogger("gcnet.ops.backend")
    before = logger.level, list(logger.handlers), logger.propagate
    run(_small("gc/tiny/forward"), ["copy"], FAST)
    assert (logger.level, logger.handlers, logger.propagate) == before


def test_inputs_take_turns_on_cuda_until_no_cache_holds_them(monkeypatch):
    class Properties:
        L2_cache_size = 50 * 2**20

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties)
    (large, small) = select(["gc/c2/forward", "gc/c5/forward"], "cuda")
    assert turns(large, "cpu") == 1
    assert turns(large, "cuda") == 2
    assert turns(small, "cuda") == 25
    (network,) = select(["network/resnet50-batch64/forward"], "cuda")
    assert turns(network, "cuda") == 1


def test_convolutions_round_to_tf32_in_networks_only_and_never_when_checked(monkeypatch):
    pytest.importorskip("torchvision")
    seen = []
    real = runner.call

    def call(module, case, given):
        seen.append((case.op, torch.backends.cudnn.allow_tf32))
        return real(module, case, given)

    monkeypatch.setattr(runner, "call", call)
    monkeypatch.setattr("gcnet.benchmarks.parity.call", call)
    before = torch.backends.cudnn.allow_tf32
    run(_small("gc/tiny/forward"), ["published"], FAST)
    assert {allowed for _, allowed in seen} == {False}
    seen.clear()
    run(_small("network/resnet50-batch8/forward"), ["published"], FAST)
    checked = [allowed for _, allowed in seen[:3]]  # the reference, ours, the published form
    assert checked == [False] * 3
    assert {allowed for _, allowed in seen[3:]} == {True}
    assert torch.backends.cudnn.allow_tf32 == before


def test_what_cannot_be_captured_is_named(monkeypatch):
    real = runner._timed

    def timed(one, case, given, settings):
        if one.name == "published":
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return real(one, case, given, settings)

    monkeypatch.setattr(runner, "_timed", timed)
    (done,) = run(_small("gc/tiny/forward"), ["published", "copy"], FAST).results
    assert list(done.timings) == ["gcnet", "copy"]
    assert done.absent == {"published": "RuntimeError: operation not permitted when stream is capturing"}
