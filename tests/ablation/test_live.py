import io
from types import SimpleNamespace

import pytest

pytest.importorskip("lightning")

from rich.console import Console

from gcnet.ablation import live as module
from gcnet.ablation.engines.event import Failed, Finished, Progress, Started
from gcnet.ablation.live import Live


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    return clock


def row(score):
    return SimpleNamespace(score="val_top1", metrics={"val_top1": score})


def made(seeds=3, width=80, terminal=False, rows=None, variants=("none", "1-nl", "gc")):
    keys = {variant: {seed: f"{variant}-{seed}" for seed in range(seeds)} for variant in variants}
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    return Live("Block design", variants, range(seeds), keys, rows or {}, console)


def text(live):
    console = Console(file=io.StringIO(), width=live.console.width, color_system=None)
    console.print(live.render())
    return console.file.getvalue()


def line(live, variant):
    (found,) = [each for each in text(live).splitlines() if each.strip().startswith(variant)]
    return found.split()


def test_every_state_shows(clock):
    live = made(rows={"gc-0": row(0.9), "gc-1": row(0.8), "other": row(0.1)})
    live.show(Started("none-0"))
    live.show(Progress("none-0", 0.43, {}))
    live.show(Failed("none-1", "no"))
    assert line(live, "none") == ["none", "43%", "fail", "·"]
    assert line(live, "1-nl") == ["1-nl", "·", "·", "·"]
    assert line(live, "gc") == ["gc", "85.0", "±", "7.1", "90.0", "80.0", "·"]
    assert "Block design: val_top1, %" in text(live)
    assert "2 of 9 runs, 1 failed" in text(live)


@pytest.mark.parametrize(("seeds", "width"), [(20, 100), (20, 60), (5, 50), (20, 40), (100, 80)])
def test_nothing_is_lost_in_a_narrow_terminal(seeds, width):
    live = made(seeds, width, rows={"gc-0": row(0.9)})
    live.show(Started("none-0"))
    live.show(Failed("gc-1", "no"))
    shown = text(live)
    assert all(len(each) <= width for each in shown.splitlines())
    table = shown.partition("runs")[0]
    assert table.count("■") == table.count("▸") == table.count("x") == 1
    assert table.count("·") == 3 * seeds - 3
    assert "none, seed 0: 0%" in shown


def test_remaining_time(clock):
    live = made()
    assert live.seconds_left() is None
    live.show(Started("none-0"))
    live.show(Progress("none-0", 0.0, {}))
    clock.now += 30
    live.show(Progress("none-0", 0.5, {}))
    assert live.seconds_left() == pytest.approx(30 + 8 * 60)
    live.show(Started("none-1"))
    live.show(Progress("none-1", 0.0, {}))
    assert live.seconds_left() == pytest.approx((30 + 60 + 7 * 60) / 2)
    clock.now += 30
    live.show(Progress("none-0", 1.0, {}))
    live.show(Finished("none-0", row(0.5)))
    live.show(Failed("none-1", "no"))
    assert live.seconds_left() == pytest.approx(7 * 60)
    assert live.standing() == "1 of 9 runs, 1 failed, 60 s gone, about 7 min left"


def test_a_resumed_run_is_as_fast_as_what_it_did_here(clock):
    live = made()
    live.show(Started("none-0"))
    live.show(Progress("none-0", 0.8, {}))
    clock.now += 10
    live.show(Progress("none-0", 0.9, {}))
    assert live.seconds_left() == pytest.approx(10 + 8 * 100)


def test_lines_without_a_terminal(clock):
    live = made(seeds=1)
    with live:
        live.show(Started("none-0"))
        for _ in range(13):
            clock.now += 10
            live.show(Progress("none-0", (clock.now - 1010) / 240, {}))
        live.show(Started("none-0"))
        live.show(Finished("none-0", row(0.953)))
        live.show(Failed("gc-0", "the loss is not finite"))
    lines = live.console.file.getvalue().splitlines()
    assert [each.partition(" (")[0] for each in lines] == [
        "0 of 3 runs, 60 s gone, about 11 min left; none, seed 0 21%",
        "0 of 3 runs, 2 min gone, about 10 min left; none, seed 0 46%",
        "none, seed 0: its process died; it is started again",
        "none, seed 0: val_top1 95.3 %",
        "gc, seed 0: failed: the loss is not finite",
    ]


def test_the_last_table_stays_in_a_terminal():
    live = made(terminal=True)
    with live:
        live.show(Finished("gc-2", row(0.875)))
        live.show(Failed("gc-1", "no such data"))
    shown = live.console.file.getvalue()
    assert "gc, seed 1: failed: no such data" in shown
    assert "87.5" in shown.rpartition("Block design")[2]
