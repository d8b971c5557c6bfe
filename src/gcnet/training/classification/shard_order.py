"""In which order samples are read from shards: planned from their counts, the seed and the epoch alone.

The shards, shuffled, form one stream of samples. Each process gets an equal stretch of it and each of its lanes, which
are read side by side, a stretch of that; shards are cut where a stretch ends, so that any number of shards serves any
number of processes. Within its stretch a lane draws from a buffer of the samples that come next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gcnet.training.loading import Place
from gcnet.training.randomness import seeded


@dataclass(frozen=True)
class ShardPlan:
    """The order of the samples in shards for one process.

    Args:
        counts: samples in each shard.
        batch_size: samples per batch of this process.
        place: this process among all.
        lanes: stretches that are read side by side; batch b comes from lane b modulo ``lanes``.
        seed: of the order; None for the order of the shards, in which every sample is seen once and the last batch may
            be smaller. With a seed, all processes have equally many whole batches, and less than one batch of all
            processes together is not used in an epoch.
        buffer: samples that a lane draws from.
    """

    counts: tuple[int, ...]
    batch_size: int
    place: Place
    lanes: int
    seed: int | None = None
    buffer: int = 1

    @property
    def stretch(self) -> tuple[int, int]:
        """First position in the stream of this process, and how many there are."""
        total, (rank, world) = sum(self.counts), self.place
        if self.seed is None:
            first = total * rank // world
            return first, total * (rank + 1) // world - first
        size = total // (self.batch_size * world) * self.batch_size
        return rank * size, size

    @property
    def batches(self) -> int:
        """Batches of this process."""
        return -(-self.stretch[1] // self.batch_size)

    def shards(self, epoch: int) -> list[int]:
        """Numbers of the shards in the order of the stream."""
        if self.seed is None:
            return list(range(len(self.counts)))
        with seeded(self.seed, 3, epoch):
            return torch.randperm(len(self.counts)).tolist()

    def lane(self, lane: int) -> tuple[int, int]:
        """First position in the stream of a lane, and how many there are."""
        first, size = self.stretch
        whole, more = divmod(self.batches, self.lanes)
        start = (lane * whole + min(lane, more)) * self.batch_size
        end = start + (whole + (lane < more)) * self.batch_size
        return first + start, max(0, min(end, size) - start)

    def draws(self, epoch: int, lane: int) -> list[int]:
        """Positions in the stream of a lane, in the order in which they are given out."""
        first, size = self.lane(lane)
        if self.seed is None:
            return list(range(first, first + size))
        with seeded(self.seed, 4, epoch, self.place.rank, lane):
            chances = torch.rand(size).tolist()
        return [first + position for position in through_buffer(chances, self.buffer)]

    def pieces(self, epoch: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Shards that hold the positions ``first`` to ``last``, each with the position of its first sample."""
        start = 0
        for shard in self.shards(epoch):
            if start <= last and start + self.counts[shard] > first:
                yield shard, start
            start += self.counts[shard]


def through_buffer(chances: Sequence[float], buffer: int) -> Iterator[int]:
    """Numbers from 0 in the order in which they leave a buffer that is refilled by the next after every draw.

    Args:
        chances: one number from 0 to 1 per draw.
        buffer: its size.

    Example:
        >>> list(through_buffer([0.9, 0.0, 0.9, 0.0], 2))
        [1, 0, 2, 3]
    """
    held = list(range(min(buffer, len(chances))))
    for number, chance in enumerate(chances, start=len(held)):
        index = int(chance * len(held))
        yield held[index]
        if number < len(chances):
            held[index] = number
        else:
            held[index] = held[-1]
            held.pop()
