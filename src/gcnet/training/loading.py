"""Loading data in an order that depends on the seed and the epoch alone, resumable after any batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from gcnet.training.config import TrainingConfig
from gcnet.training.randomness import mix, seeded


class BrokenSample(ValueError):
    """A sample that cannot be read; the message names its file."""


class Place(NamedTuple):
    """Which of several processes that train together this one is."""

    rank: int = 0
    world: int = 1


ALONE = Place()


class Ticket(NamedTuple):
    """One sample to load, and the epoch it is loaded in."""

    epoch: int
    sample: int


class Collated(NamedTuple):
    """A batch, or None if no sample was left, and what was wrong with the samples left out."""

    batch: Any
    broken: tuple[str, ...]


class EpochBatches(Sampler[list[Ticket]]):
    """Batches of one process: every epoch all samples, shuffled by the seed and the epoch.

    One process with batches of B sees in each step the samples that W processes with batches of B / W see together.
    What is left after the last whole batch of all processes is not used in that epoch.

    Args:
        count: samples.
        batch_size: samples per batch of this process.
        seed: of the order.
        place: this process among all.
        groups: number of the group of every sample, such as of its aspect ratio; a batch holds samples of one group.

    Attributes:
        epoch: the epoch that the next iteration goes through.
        start: batches of it to leave out, once, because they were used before an interruption.
    """

    def __init__(
        self, count: int, batch_size: int, *, seed: int, place: Place = ALONE, groups: Sequence[int] | None = None
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.place = place
        self.groups = torch.zeros(count, dtype=torch.long) if groups is None else torch.as_tensor(groups)
        self.epoch = 0
        self.start = 0
        if len(self) == 0:
            raise too_few_samples(count, batch_size, place)

    def __len__(self) -> int:
        together = self.batch_size * self.place.world
        return sum(int(size) // together for size in self.groups.unique(return_counts=True)[1])

    @property
    def sampler(self) -> EpochBatches:
        """Itself: Lightning looks here for what it tells the epoch to."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Go through ``epoch`` next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Ticket]]:
        together = self.batch_size * self.place.world
        with seeded(self.seed, self.epoch):
            order = torch.randperm(self.count)
            batches: list[torch.Tensor] = []
            for group in self.groups.unique():
                members = order[self.groups[order] == group]
                batches += members[: len(members) // together * together].view(-1, together)
            turns = torch.randperm(len(batches)).tolist() if self.groups.any() else range(len(batches))
        first = self.place.rank * self.batch_size
        start, self.start = self.start, 0
        for turn in list(turns)[start:]:
            mine = batches[turn][first : first + self.batch_size]
            yield [Ticket(self.epoch, index) for index in mine.tolist()]


def too_few_samples(count: int, batch_size: int, place: Place) -> ValueError:
    """The error of samples that do not fill one batch of all processes."""
    together = f" times {place.world} processes" if place.world > 1 else ""
    return ValueError(f"batch_size={batch_size}{together} is more than the {count} training samples")


@dataclass(frozen=True)
class _SeededItems(Dataset[Any]):
    """Loads by ticket: what is random in a sample follows from the seed, the epoch and its index."""

    dataset: Any
    seed: int
    skip: bool

    def __getitem__(self, ticket: Ticket) -> Any:
        with seeded(self.seed, ticket.epoch, ticket.sample):
            try:
                return self.dataset[ticket.sample]
            except BrokenSample as error:
                if not self.skip:
                    raise
                return error


@dataclass(frozen=True)
class Collate:
    """Collates the samples that could be read, and names the others."""

    collate: Callable[[list[Any]], Any]

    def __call__(self, samples: list[Any]) -> Collated:  # noqa: D102
        good = [sample for sample in samples if not isinstance(sample, BrokenSample)]
        broken = tuple(str(sample) for sample in samples if isinstance(sample, BrokenSample))
        return Collated(self.collate(good) if good else None, broken)


class Loader(DataLoader[Any]):
    """A loader that counts what it left out, and of which Lightning saves how far it came.

    Attributes:
        broken: messages of the samples left out so far, each once, in the order of their first appearance.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.broken: dict[str, None] = {}
        self._used = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._used = getattr(self.batch_sampler, "start", 0)
        for batch, broken in super().__iter__():
            self._used += 1
            self.broken.update(dict.fromkeys(broken))
            if batch is None:
                raise BrokenSample(f"no sample of a batch could be read, such as: {broken[0]}")
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the batches of it that were used, and the samples left out so far."""
        return {"epoch": self.batch_sampler.epoch, "used": self._used, "broken": list(self.broken)}  # type: ignore[union-attr]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batches used."""
        finished, used = divmod(state["used"], len(self))
        self.batch_sampler.epoch = state["epoch"] + finished  # type: ignore[union-attr]
        self.batch_sampler.start = used  # type: ignore[union-attr]
        self._used = used
        self.broken = dict.fromkeys(state["broken"])


def train_loader(
    dataset: Any,
    config: TrainingConfig,
    place: Place = ALONE,
    *,
    collate: Callable[[list[Any]], Any] = default_collate,
    groups: Sequence[int] | None = None,
) -> Loader:
    """Shuffled batches for training.

    Args:
        dataset: has ``len`` and gives a sample by its index; may draw random numbers from torch, NumPy and Python, and
            raises :class:`BrokenSample` for what it cannot read.
        config: batch size, seed, workers, what to do with broken samples.
        place: this process among all.
        collate: list of samples to a batch.
        groups: number of the group of every sample; a batch holds samples of one group.

    Raises:
        ValueError: fewer samples than a batch holds.
    """
    batches = EpochBatches(len(dataset), config.batch_size, seed=config.seed, place=place, groups=groups)
    return _loader(dataset, batches, config, collate)


def val_loader(
    dataset: Any,
    config: TrainingConfig,
    place: Place = ALONE,
    *,
    collate: Callable[[list[Any]], Any] = default_collate,
    batch_size: int | None = None,
) -> Loader:
    """Every sample once, in order; process r of W takes the samples r, r + W, ...; the last batch may be smaller.

    Raises:
        ValueError: fewer samples than processes.
    """
    if len(dataset) < place.world:
        raise ValueError(f"data: {len(dataset)} validation samples are too few for {place.world} processes")
    size = batch_size or config.batch_size
    mine = [Ticket(0, index) for index in range(place.rank, len(dataset), place.world)]
    return _loader(dataset, [mine[at : at + size] for at in range(0, len(mine), size)], config, collate)


def _loader(dataset: Any, batches: Any, config: TrainingConfig, collate: Callable[[list[Any]], Any]) -> Loader:
    return Loader(
        _SeededItems(dataset, mix(config.seed, 1), config.on_broken == "skip"),
        batch_sampler=batches,
        collate_fn=Collate(collate),
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
