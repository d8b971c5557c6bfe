"""Batches out of shards: read in the order of the plan, resumable after any batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.image_source import Transform
from gcnet.training.classification.shard_order import ShardPlan
from gcnet.training.classification.shard_samples import RawSample, describe, image_bytes, label_text, read_shard
from gcnet.training.images import read_image
from gcnet.training.loading import BrokenSample, Collate, Collated, EpochBatches, Loader, Ticket
from gcnet.training.randomness import mix, seeded


class ShardBatches(Dataset[Collated]):
    """Whole batches by epoch and number.

    Lanes stay open from one batch to the next. A batch further on is found by reading on to it without decoding what
    lies before it; one that a lane begins with, as after an interruption, by leaving out whole shards as well.

    Args:
        shards: paths or URLs.
        plan: the order of the samples in them.
        classes: their names.
        transform: picture to tensor.
        config: columns, seed, what to do with broken samples.
    """

    def __init__(
        self,
        shards: tuple[str, ...],
        plan: ShardPlan,
        classes: tuple[str, ...],
        transform: Transform,
        config: ClassificationConfig,
    ) -> None:
        self.shards = shards
        self.plan = plan
        self.places = {name: index for index, name in enumerate(classes)}
        self.transform = transform
        self.config = config
        self._open: dict[int, tuple[int, int, Iterator[tuple[int, RawSample]]]] = {}  # by lane: epoch, turns, rest

    def __len__(self) -> int:
        return self.plan.batches

    def __getitem__(self, ticket: Ticket) -> Collated:
        turn, lane = divmod(ticket.sample, self.plan.lanes)
        size = self.plan.batch_size
        self._open = {lane: read for lane, read in self._open.items() if read[0] == ticket.epoch}
        _, turns, samples = self._open.get(lane, (ticket.epoch, turn + 1, iter(())))
        if turn < turns:
            samples = self._read(ticket.epoch, lane, skip=turn * size)
            turns = turn
        found = list(islice(samples, (turn - turns) * size, (turn - turns + 1) * size))
        self._open[lane] = ticket.epoch, turn + 1, samples
        return Collate(default_collate)([self._load(ticket.epoch, *sample) for sample in found])

    def _read(self, epoch: int, lane: int, skip: int) -> Iterator[tuple[int, RawSample]]:
        """Samples of a lane in the planned order, each with its number in the whole set."""
        draws = self.plan.draws(epoch, lane)[skip:]
        stream = self._stream(epoch, set(draws))
        held: dict[int, tuple[int, RawSample]] = {}
        for wanted in draws:
            while wanted not in held:
                position, number, sample = next(stream)
                held[position] = number, sample
            yield held.pop(wanted)

    def _stream(self, epoch: int, wanted: set[int]) -> Iterator[tuple[int, int, RawSample]]:
        """Wanted samples in the order of the stream: position in it, number in the whole set, content."""
        for shard, start in self.plan.pieces(epoch, min(wanted), max(wanted)):
            size, before = self.plan.counts[shard], sum(self.plan.counts[:shard])
            here = [member for member in range(size) if start + member in wanted]
            if not here:
                continue
            member = -1
            for member, sample in enumerate(read_shard(self.shards[shard])):
                if member == size:
                    raise self._miscounted(shard, f"more than {size}")
                if start + member in wanted:
                    yield start + member, before + member, sample
                if member == here[-1] and member + 1 < size:
                    break
            else:
                if member + 1 < size:
                    raise self._miscounted(shard, str(member + 1))

    def _miscounted(self, shard: int, found: str) -> BrokenSample:
        known = f"sizes.json says {self.plan.counts[shard]}"
        return BrokenSample(f"{self.shards[shard]}: holds {found} samples, {known}; remove that to count again")

    def _load(self, epoch: int, number: int, sample: RawSample) -> tuple[Tensor, int] | BrokenSample:
        try:
            label = self._label(sample)
            picture = read_image(image_bytes(sample, self.config.image_column), describe(sample))
        except BrokenSample as error:
            if self.config.on_broken == "error":
                raise
            return error
        with seeded(mix(self.config.seed, 1), epoch, number):
            return self.transform(picture), label

    def _label(self, sample: RawSample) -> int:
        """The place of a sample's class: its label is a name, or else the place itself."""
        text = label_text(sample, self.config.label_column)
        label = self.places.get(text, int(text) if text.isdecimal() else -1)
        if not 0 <= label < len(self.places):
            raise BrokenSample(f"{describe(sample)}: its label {text!r} is not among the {len(self.places)} classes")
        return label


def shard_loader(batches: ShardBatches, config: ClassificationConfig) -> Loader:
    """Batches of one process; in training their order follows from the seed and the epoch."""
    once = [[Ticket(0, number)] for number in range(len(batches))]
    return Loader(
        batches,
        batch_sampler=once if batches.plan.seed is None else _Numbers(len(batches)),
        collate_fn=_only,
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


class _Numbers(EpochBatches):
    """Numbers of all batches of an epoch, in order."""

    def __init__(self, count: int) -> None:
        super().__init__(count, 1, seed=0)

    def __iter__(self) -> Iterator[list[Ticket]]:
        start, self.start = self.start, 0
        yield from ([Ticket(self.epoch, number)] for number in range(start, self.count))


def _only(batches: list[Collated]) -> Collated:
    (batch,) = batches
    return batch
