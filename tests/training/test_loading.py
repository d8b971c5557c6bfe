"""The order of the data depends on the seed and the epoch alone, for any number of processes and workers."""

from itertools import chain

import pytest
import torch

pytest.importorskip("lightning")

from gcnet.training.loading import BrokenSample, EpochBatches, Place, train_loader, val_loader
from tests.training.toy import toy_config


def samples(batches, epoch=0):
    batches.set_epoch(epoch)
    return [[ticket.sample for ticket in batch] for batch in batches]


def test_every_sample_once_per_epoch_in_another_order():
    batches = EpochBatches(12, 4, seed=0)
    first, second = samples(batches), samples(batches, 1)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(12))
    assert first != second
    assert samples(batches) == first
    assert samples(EpochBatches(12, 4, seed=1)) != first


def test_what_fills_no_batch_is_left_out():
    batches = EpochBatches(11, 4, seed=0)
    assert len(batches) == 2
    assert len(set(chain(*samples(batches)))) == 8


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_the_steps_of_one(world):
    alone = samples(EpochBatches(30, 12, seed=5))
    shares = [samples(EpochBatches(30, 12 // world, seed=5, place=Place(rank, world))) for rank in range(world)]
    assert [list(chain(*step)) for step in zip(*shares, strict=True)] == alone


def test_groups_do_not_mix():
    groups = [index % 3 == 0 for index in range(30)]
    for place in (Place(0, 1), Place(1, 2)):
        batches = EpochBatches(30, 4 // place.world, seed=0, place=place, groups=groups)
        drawn = samples(batches)
        assert len(drawn) == len(batches) == 2 + 5
        assert all(len({groups[sample] for sample in batch}) == 1 for batch in drawn)
        kinds = [groups[batch[0]] for batch in drawn]
        assert kinds != sorted(kinds)


def test_too_few_samples(tmp_path):
    with pytest.raises(ValueError, match="batch_size=8 is more than the 7 training samples"):
        EpochBatches(7, 8, seed=0)
    with pytest.raises(ValueError, match="10 validation samples are too few for 11 processes"):
        val_loader(Random(), toy_config(tmp_path), Place(3, 11))
    with pytest.raises(ValueError, match="batch_size=4 times 2 processes is more than the 7"):
        EpochBatches(7, 4, seed=0, place=Place(0, 2))


def test_start_leaves_out_batches_once():
    batches = EpochBatches(12, 4, seed=0)
    whole = samples(batches)
    batches.start = 2
    assert samples(batches) == whole[2:]
    assert samples(batches) == whole


class Random:
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return torch.tensor([float(index), torch.rand(()).item()])


@pytest.mark.parametrize("workers", [0, 2])
def test_random_samples_follow_from_seed_epoch_and_index(tmp_path, workers):
    loader = train_loader(Random(), toy_config(tmp_path, batch_size=5))
    other = train_loader(Random(), toy_config(tmp_path, batch_size=2, workers=workers))
    epochs = []
    for epoch in range(2):
        drawn = []
        for each in (loader, other):
            each.batch_sampler.set_epoch(epoch)
            rows = torch.cat(list(each))
            drawn.append(rows[rows[:, 0].argsort()])
        assert torch.equal(*drawn)
        epochs.append(drawn[0])
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("used", [0, 1, 3, 5])
def test_a_loader_goes_on_where_another_was(tmp_path, used):
    config = toy_config(tmp_path, batch_size=2)
    loader, whole = train_loader(Random(), config), train_loader(Random(), config)
    loader.batch_sampler.set_epoch(3)
    batches = iter(loader)
    for _ in range(used):
        next(batches)
    went_on = train_loader(Random(), config)
    went_on.load_state_dict(loader.state_dict())
    whole.batch_sampler.set_epoch(3 + used // 5)
    assert torch.equal(torch.cat(list(went_on)), torch.cat(list(whole)[used % 5 :]))


class Broken(Random):
    def __getitem__(self, index):
        if index % 4 == 1:
            raise BrokenSample(f"{index}.png: is broken")
        return super().__getitem__(index)


def test_broken_samples_stop_or_are_counted(tmp_path):
    with pytest.raises(BrokenSample, match=r"\d.png: is broken"):
        list(train_loader(Broken(), toy_config(tmp_path)))
    loader = val_loader(Broken(), toy_config(tmp_path, on_broken="skip"))
    assert sum(len(batch) for batch in loader) == 7
    assert list(loader.broken) == ["1.png: is broken", "5.png: is broken", "9.png: is broken"]
    assert sum(len(batch) for batch in loader) == 7
    assert len(loader.broken) == 3


def test_a_batch_of_broken_samples_is_an_error(tmp_path):
    with pytest.raises(BrokenSample, match="no sample of a batch could be read"):
        list(val_loader(Broken(), toy_config(tmp_path, on_broken="skip"), batch_size=1))


@pytest.mark.parametrize("world", [1, 3])
def test_validation_sees_every_sample_once(tmp_path, world):
    seen = [
        row[0].item()
        for rank in range(world)
        for batch in val_loader(Random(), toy_config(tmp_path), Place(rank, world))
        for row in batch
    ]
    assert sorted(seen) == list(range(10))
