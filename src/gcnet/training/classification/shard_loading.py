"""Batches out of shards: read in the order of the plan, resumable after any batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.images import Transform, read_image
from gcnet.training.classification.shard_order import ShardPlan
from gcnet.training.classification.shard_samples import RawSample, describe, image_bytes, label_text, read_shard
from gcnet.training.loading import BrokenSample, Collate, Collated, EpochBatches, Loader, Ticket
from gcnet.training.randomness import mix, seeded


class ShardBatches(Dataset[Collated]):
    """Whole batches by epoch and number.

    Lanes stay open from one batch to the next. A batch out of turn is found by reading on to it without decoding what
    lies before it, whole shards left out.

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
        self._open: dict[int, tuple[Ticket, Iterator[tuple[int, RawSample]]]] = {}

    def __len__(self) -> int:
        return self.plan.batches

    def __getitem__(self, ticket: Ticket) -> Collated:
        turn, lane = divmod(ticket.sample, self.plan.lanes)
        self._open = {lane: read for lane, read in self._open.items() if read[0].epoch == ticket.epoch}
        expected, samples = self._open.pop(lane, (None, iter(())))
        if ticket != expected:
            samples = self._read(ticket.epoch, lane, skip=turn * self.plan.batch_size)
        batch = [self._load(ticket.epoch, *found) for found in islice(samples, self.plan.batch_size)]
        self._open[lane] = ticket._replace(sample=ticket.sample + self.plan.lanes), samples
        return Collate(default_collate)(batch)

    def _read(self, epoch: int, lane: int, skip: int) -> Iterator[tuple[int, RawSample]]:
        """Samples of a lane in the planned order, each with its number in the whole set."""
        draws = self.plan.draws(epoch, lane)[skip:]
        stream = self._stream(epoch, set(draws))
        held: dict[int, tuple[int, RawSample]] = {}
        for wanted in draws:
            while wanted not in held:
                position, *found = next(stream)
                held[position] = found[0], found[1]
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
                    raise ValueError(f"{self.shards[shard]}: holds more than the {size} samples of sizes.json; remove that")
                if start + member in wanted:
                    yield start + member, before + member, sample
                if member == here[-1] and member + 1 < size:
                    break
            else:
                if member + 1 < size:
                    raise ValueError(
                        f"{self.shards[shard]}: holds {member + 1} samples, not the {size} of sizes.json; remove that"
                    )

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


class ShardLoader(Loader):
    """A loader of :class:`ShardBatches`, in which every process that loads reads a lane.

    Args:
        batches: of one process.
        config: processes that load.
    """

    def __init__(self, batches: ShardBatches, config: ClassificationConfig) -> None:
        self._lanes = batches.plan.lanes
        super().__init__(
            batches,
            batch_sampler=_Numbers(len(batches)) if batches.plan.seed is not None else _once(len(batches)),
            collate_fn=_only,
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def state_dict(self) -> dict[str, Any]:
        """Batches used, samples left out, and the number of lanes, which the order depends on."""
        return {**super().state_dict(), "lanes": self._lanes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batches used.

        Raises:
            ValueError: the epoch was begun with another number of lanes.
        """
        if state["lanes"] != self._lanes and state["used"] % len(self):
            raise ValueError(
                f"workers={self.num_workers}: the epoch that was interrupted reads its shards by workers={state['lanes']}"
            )
        super().load_state_dict(state)


class _Numbers(EpochBatches):
    """Numbers of all batches of an epoch, in order."""

    def __init__(self, count: int) -> None:
        super().__init__(count, 1, seed=0)

    def __iter__(self) -> Iterator[list[Ticket]]:
        start, self.start = self.start, 0
        yield from ([Ticket(self.epoch, number)] for number in range(start, self.count))


def _once(count: int) -> list[list[Ticket]]:
    return [[Ticket(0, number)] for number in range(count)]


def _only(batches: list[Collated]) -> Collated:
    (batch,) = batches
    return batch
