"""The planned order: every sample once, equal shares, nothing but seed and epoch."""

import itertools

import pytest

pytest.importorskip("lightning")

from gcnet.training.classification.shard_order import ShardPlan, through_buffer
from gcnet.training.loading import Place

COUNTS = (7, 5, 8, 4, 30, 1)  # 55 samples
SETTINGS = list(itertools.product((1, 2, 3), (1, 2, 4, 9), (1, 4, 8)))


def given(plan, epoch=0):
    return [plan.draws(epoch, lane) for lane in range(plan.lanes)]


@pytest.mark.parametrize(("world", "lanes", "size"), SETTINGS)
def test_training_gives_all_processes_the_same_number_of_whole_batches(world, lanes, size):
    plans = [ShardPlan(COUNTS, size, Place(rank, world), lanes, seed=0, buffer=6) for rank in range(world)]
    assert {plan.batches for plan in plans} == {55 // (size * world)}
    seen = [position for plan in plans for lane in given(plan) for position in lane]
    assert len(seen) == len(set(seen)) == 55 // (size * world) * size * world
    assert max(seen) < 55
    for plan in plans:
        sizes = [len(lane) for lane in given(plan)]
        turns = [len(range(lane, plan.batches, lanes)) for lane in range(lanes)]
        assert sizes == [size * count for count in turns], "a lane lacks samples for its batches"


@pytest.mark.parametrize(("world", "lanes", "size"), SETTINGS)
def test_validation_sees_every_sample_once(world, lanes, size):
    plans = [ShardPlan(COUNTS, size, Place(rank, world), lanes) for rank in range(world)]
    seen = [position for plan in plans for lane in given(plan) for position in lane]
    assert seen == list(range(55))
    for plan in plans:
        for lane, positions in enumerate(given(plan)):
            assert -(-len(positions) // size) == len(range(lane, plan.batches, lanes))


def test_order_follows_from_seed_and_epoch():
    plan = ShardPlan(COUNTS, 4, Place(), 2, seed=0, buffer=6)
    assert given(plan, 1) == given(plan, 1) != given(plan, 2)
    assert plan.shards(1) == plan.shards(1) != plan.shards(2)
    assert sorted(plan.shards(1)) == list(range(6))
    other = ShardPlan(COUNTS, 4, Place(), 2, seed=1, buffer=6)
    assert given(plan, 1) != given(other, 1)


def test_buffer_bounds_what_is_held():
    order = list(through_buffer([(7 * n % 10) / 10 for n in range(100)], 8))
    assert sorted(order) == list(range(100))
    for drawn, number in enumerate(order):
        assert number < drawn + 8, "given out before it can have been read"
    assert list(through_buffer([0.5] * 5, 1)) == [0, 1, 2, 3, 4]
    assert list(through_buffer([], 8)) == []


def test_pieces_are_the_shards_that_hold_positions():
    plan = ShardPlan(COUNTS, 4, Place(), 1)
    assert list(plan.pieces(0, 0, 54)) == [(0, 0), (1, 7), (2, 12), (3, 20), (4, 24), (5, 54)]
    assert list(plan.pieces(0, 12, 19)) == [(2, 12)]
    assert list(plan.pieces(0, 11, 20)) == [(1, 7), (2, 12), (3, 20)]
