"""One pass over the data: what the non-local blocks of a network were given, and what they gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.analysis.capture import Captured, capture
from gcnet.analysis.collapse.merge import Pooled, pooled_output
from gcnet.analysis.query_dependence import CHUNK, CosineDistance
from gcnet.blocks import NonLocal
from gcnet.insertion.state import evaluating

#: One in so many images is not learned from, but judges.
HELD_OUT = 5


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
        distance, images = CosineDistance(record.path), len(output)
        row = torch.zeros(images, prod(record.key_size), dtype=torch.float64)
        at_once = max(1, CHUNK // (images * row.shape[1]))
        for queries in torch.arange(record.positions).split(at_once):
            rows = record.rows(queries)[:, 0].double()
            distance.add(rows)
            row += rows.sum(1) / record.positions
        return cls(
            record.input,
            query[:, 0].double().mean(1),
            row,
            mean,
            distance.distance().nan_to_num(0.0),  # a map of zeros is the same for all queries
            varying,
            output.square().sum((1, 2)),
        )

    @property
    def positions(self) -> int:
        """P."""
        return self.features[0, 0].numel()

    def __len__(self) -> int:
        return len(self.output)

    def __getitem__(self, chosen: Tensor) -> Batch:
        """The images of a mask [N]."""
        return Batch(*(getattr(self, name.name)[chosen] for name in fields(self)))


@dataclass(frozen=True, eq=False)
class Observed:
    """What one block was given and gave over the data, on the CPU."""

    block: NonLocal
    batches: list[Batch] = field(default_factory=list)

    def of(self, name: str) -> Tensor:
        """One attribute of :class:`Batch` over all images."""
        return torch.cat([getattr(batch, name) for batch in self.batches])

    def split(self) -> tuple[Observed, Observed]:
        """Images to learn from, and every fifth one to judge by; with fewer than five, all do both."""
        numbers = torch.arange(sum(map(len, self.batches))).split([len(batch) for batch in self.batches])
        aside = [number % HELD_OUT == HELD_OUT - 1 for number in numbers]
        if not any(map(Tensor.any, aside)):
            return self, self
        parts = ([~mask for mask in aside], aside)
        learned, judged = (
            [batch[mask] for batch, mask in zip(self.batches, masks, strict=True) if mask.any()] for masks in parts
        )
        return Observed(self.block, learned), Observed(self.block, judged)

    @property
    def idle(self) -> str:
        """Why nothing can be learned from this block's attention; empty for a block that attends."""
        if not any(bool(batch.energy.any()) for batch in self.batches):
            return "its output is zero on all images, as at its start"
        if not any(bool(batch.row.any()) for batch in self.batches):
            return "its map is zero on all images, so that it adds the same everywhere"
        return ""

    @property
    def variation(self) -> Tensor:
        """||y_i - mean_i y_i|| / ||y_i|| of each image: the least error of a block with one output for all queries."""
        energy = self.of("energy")
        return (self.of("varying") / energy.where(energy > 0, 1.0)).sqrt()

    @torch.no_grad()
    def error_of(self, block: Pooled) -> float:
        """||y_i - f(x)|| / ||y_i|| over all positions and images: how far a block f with one map is from this one.

        No such block gets below what varies, sqrt(sum ||y_i - mean_i y_i||^2 / sum ||y_i||^2).
        """
        missed = 0.0
        for batch in self.batches:
            off = pooled_output(block, batch.features) - batch.output
            missed += float(batch.varying.sum() + batch.positions * off.square().sum())
        energy = float(self.of("energy").sum())
        return (missed / energy) ** 0.5 if energy else 0.0


@torch.no_grad()
def observe(
    model: nn.Module, blocks: Mapping[str, NonLocal], batches: Iterable[Any], forward: Callable[[Any], Any]
) -> dict[str, Observed]:
    """Run a network in eval mode over the data: path -> what was seen of that block, for those that ran."""
    seen: dict[str, Observed] = {}
    with evaluating(model):
        for batch in batches:
            with capture(model, list(blocks)) as maps:
                forward(batch)
            for path in maps:
                observed = seen.setdefault(path, Observed(blocks[path]))
                observed.batches.extend(map(Batch.of, maps.calls(path)))
    return seen
