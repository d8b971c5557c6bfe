"""One pass over the data: what the non-local blocks of a network were given, and what they gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.analysis.capture import Captured, capture
from gcnet.analysis.query_dependence import CHUNK, CosineDistance
from gcnet.blocks import NonLocal


@dataclass(frozen=True, eq=False)
class Batch:
    """What one call of a block showed, in float64 but for the features; N images of P positions.

    Attributes:
        features: the input, [N, C, *spatial].
        query: the mean query, [N, d].
        row: the mean row of the map, [N, M].
        output: the mean over positions of y, what is added to the input: [N, C].
        distance: average cosine distance between the rows of the map, [N].
        varying: sum_i ||y_i - mean_i y_i||^2, [N].
        energy: sum_i ||y_i||^2, [N].
    """

    features: Tensor
    query: Tensor
    row: Tensor
    output: Tensor
    distance: Tensor
    varying: Tensor
    energy: Tensor

    @classmethod
    def of(cls, record: Captured) -> Batch:
        """Reduce what was captured of one call."""
        output = record.output.flatten(2).double()
        mean = output.mean(2)
        varying = (output - mean[:, :, None]).square().sum((1, 2))
        query: Any = record.query
        distance, total, images = CosineDistance(record.path), 0.0, len(output)
        at_once = max(1, CHUNK // (images * prod(record.key_size)))
        for queries in torch.arange(record.positions).split(at_once):
            rows = record.rows(queries)[:, 0].double()
            distance.add(rows)
            total = total + rows.sum(1)
        row: Any = total / record.positions
        return cls(
            record.input,
            query[:, 0].double().mean(1),
            row,
            mean,
            distance.distance(),
            varying,
            output.square().sum((1, 2)),
        )

    @property
    def positions(self) -> int:
        """P."""
        return self.features[0, 0].numel()


@dataclass(frozen=True, eq=False)
class Observed:
    """What one block was given and gave over the data, on the CPU."""

    block: NonLocal
    batches: list[Batch] = field(default_factory=list)

    def of(self, name: str) -> Tensor:
        """One attribute of :class:`Batch` over all images."""
        return torch.cat([getattr(batch, name) for batch in self.batches])

    @property
    def variation(self) -> Tensor:
        """||y_i - mean_i y_i|| / ||y_i|| of each image: the least error of a block with one output for all queries."""
        energy = self.of("energy")
        return (self.of("varying") / energy.where(energy > 0, 1.0)).sqrt()


@torch.no_grad()
def observe(
    model: nn.Module, blocks: Mapping[str, NonLocal], batches: Iterable[Any], forward: Callable[[Any], Any]
) -> dict[str, Observed]:
    """Run a network in eval mode over the data: path -> what was seen of that block, for those that ran."""
    seen: dict[str, Observed] = {}
    with evaluating(model):
        for batch in batches:
            with capture(model) as maps:
                forward(batch)
            for path in maps.keys() & blocks.keys():
                observed = seen.setdefault(path, Observed(blocks[path]))
                observed.batches.extend(map(Batch.of, maps.calls(path)))
    return seen


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in eval mode; afterwards each in the mode it had."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, flag in training.items():
            module.training = flag
