"""How much the attention of a network depends on the query, measured over images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcnet.analysis.audit.paper import matching_setup
from gcnet.analysis.audit.report import Audit, BlockAudit
from gcnet.analysis.bootstrap import Interval, bootstrap
from gcnet.analysis.capture import Captured, capture
from gcnet.analysis.query_dependence import CHUNK, PAIRS, CosineDistance, Rows, estimate_jensen_shannon
from gcnet.analysis.spread import attention_spread
from gcnet.insertion.state import evaluating, unwrapped

SPREAD_ROWS = 256  # of a map, at most, that its spread is measured over


def audit(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    forward: Callable[[Tensor], Any] | None = None,
    match: str | None = None,
    pairs: int | None = PAIRS,
    resamples: int = 2000,
    seed: int = 0,
) -> Audit:
    """Measure every block and attention layer over images: GCNet, Cao et al. (arXiv:1904.11492), section 3.2.

    In every image, the average cosine distance between positions is measured for what comes into a block, what the
    block adds to it and the rows of its attention map, and the Jensen-Shannon divergence for rows that are
    distributions; then they are averaged over images, with a bootstrap interval. No map is laid out: memory grows with
    a batch and its positions, not with the number of images, of which only these four numbers per block and head are
    kept.

    How widely maps look (:func:`~gcnet.analysis.spread.attention_spread`) tells maps that agree on a place from flat
    ones.

    A block with one map for all positions (GC, SNL) is measured at its input and for the spread of its map; the rest
    is 0 by construction and left out. A block whose output is zero, as that of a fresh one, has no distance there;
    see :attr:`BlockAudit.zeros`. Tokens before those of the picture, such as the class token, are no positions, but
    keys. Where images are cut into windows, the windows of an image are measured one by one and averaged.

    Args:
        model: with blocks of gcnet, or attention layers that :func:`gcnet.capture` sees. It runs in eval mode and gets
            its modes back.
        batches: inputs [N, ...] of the model; sizes may differ from batch to batch.
        forward: calls the model with a batch; by default the model itself.
        match: pattern of paths of the blocks; by default all.
        pairs: of positions to draw per image for the divergence, where there are more; None takes all.
        resamples: draws for the intervals.
        seed: of all draws.

    Raises:
        TypeError: batches that are no tensors, such as pairs of images and labels.
        ValueError: no images; no attention, or none that matches or runs; values that are not finite.

    Example:
        >>> import torch, gcnet
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), gcnet.NonLocal(16), gcnet.GlobalContext(16, 1 / 4))
        >>> found = audit(model, [torch.randn(4, 3, 8, 8), torch.randn(1, 3, 10, 7)])
        >>> [(block.path, block.kind, block.positions, block.images) for block in found.blocks]
        [('1', 'non_local', (36, 40), 5), ('2', 'global_context', (36, 40), 5)]
        >>> found.blocks[0].input.low < found.blocks[0].input.mean, found.blocks[0].zeros
        (True, {'output': 1.0})
    """
    lines: dict[tuple[str, int | None], _Line] = {}
    images = 0
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad(), evaluating(model), capture(model, match, device=_device(model)) as maps:
        for batch in _tensors(batches):
            if not len(batch):
                continue
            (forward or model)(batch)
            for path in maps:
                for call, record in enumerate(maps.calls(path)):
                    _gather(lines, record, call, len(batch), pairs, generator)
            images += len(batch)
            maps.clear()
        if not images:
            raise ValueError("batches holds no images; give at least one")
    blocks = tuple(line.result(resamples, seed) for line in lines.values())
    paths = [block.path for block in blocks if block.kind == "non_local"]
    drawn = pairs if any(block.divergence_error for block in blocks) else None
    return Audit(blocks, images, matching_setup(unwrapped(model), paths), drawn)


def _tensors(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    if isinstance(batches, Tensor):
        raise TypeError(f"batches is one tensor {list(batches.shape)}; give several, such as [x] for a single batch")
    for batch in batches:
        if not isinstance(batch, Tensor):
            raise TypeError(
                f"batches holds a {type(batch).__name__}; give tensors [N, ...] alone, such as (x for x, y in loader)"
            )
        yield batch


class _Measured(NamedTuple):
    """Values of a batch, their share of vectors of zeros, and their standard errors: [N, heads] each."""

    values: Tensor
    zeros: Tensor
    errors: Tensor

    def of(self, head: int) -> _Measured:
        """Of one head: [N] each."""
        return _Measured(*(column[:, head] for column in self))

    def mean(self) -> _Measured:
        """Along axis 1: [N, ...] each. Errors come from the same pairs, so that they may all go the same way."""
        return _Measured(self.values.nanmean(1), self.zeros.mean(1), self.errors.mean(1))


class _Line:
    """What a line of the report has seen so far."""

    def __init__(self, path: str, record: Captured, head: int | None) -> None:
        self.path, self.kind, self.head = path, record.kind, head
        self.pairwise = getattr(record.source, "pairwise", None)
        self.sizes: list[int] = []
        self.images = 0
        self.measured: dict[str, list[_Measured]] = {}

    def add(self, found: dict[str, _Measured], positions: int, images: int) -> None:
        self.sizes.append(positions)
        self.images += images
        for name, measured in found.items():
            self.measured.setdefault(name, []).append(measured)

    def result(self, resamples: int, seed: int) -> BlockAudit:
        intervals: dict[str, Interval | None] = {}
        zeros: dict[str, float] = {}
        error = None
        for name, parts in self.measured.items():
            values, shares, _ = (torch.cat(column) for column in zip(*parts, strict=True))
            kept = values[~values.isnan()]
            intervals[name] = bootstrap(kept, resamples=resamples, seed=seed) if len(kept) else None
            if shares.any():
                zeros[name] = shares.mean().item()
            if name == "divergence":
                error = torch.stack([part.errors.sum() for part in parts]).norm().item() / len(values)
        positions = (min(self.sizes), max(self.sizes))
        return BlockAudit(
            self.path,
            self.kind,
            self.pairwise,
            self.head,
            positions,
            self.images,
            **intervals,
            zeros=zeros,
            divergence_error=error,
        )


def _gather(
    lines: dict[tuple[str, int | None], _Line],
    record: Captured,
    call: int,
    images: int,
    pairs: int | None,
    generator: torch.Generator,
) -> None:
    """Add a call of a block to its lines: one for the block, and one for each head of an attention layer."""
    path = record.path if call == 0 else f"{record.path} (call {call + 1})"
    found = {name: _per_image(path, part, images) for name, part in _measure(record, pairs, generator).items()}
    for head in (None, *range(record.heads if record.kind == "attention" else 0)):
        line = lines.setdefault((path, head), _Line(path, record, head))
        if head is None:
            part = {name: measured.mean() for name, measured in found.items()}
        else:
            part = {name: measured.of(head) for name, measured in found.items() if name != "input"}
        line.add(part, record.positions - record.prefix, images)


def _measure(record: Captured, pairs: int | None, generator: torch.Generator) -> dict[str, _Measured]:
    """Every quantity of one call, for each of its maps."""
    found = {}
    if (tokens := _tokens(record, record.input)) is not None:
        found["input"] = _cosine(record, "input", _rows_of(tokens[:, None]))
    if record.softmax:
        found["spread"] = _spread(record)
    if record.pooled:
        return found
    output = record.output if record.kind == "attention" else record.output.flatten(2).transpose(1, 2)[:, None]
    found["output"] = _cosine(record, "output", _rows_of(output))
    found["attention"] = _cosine(record, "attention", record.rows)
    if record.softmax:
        mean, error = estimate_jensen_shannon(
            lambda queries: record.rows(queries + record.prefix),
            record.positions - record.prefix,
            pairs=pairs,
            generator=generator,
            name=f"{record.path}: attention",
        )
        found["divergence"] = _Measured(mean.cpu(), torch.zeros(mean.shape), error.cpu())
    return found


def _spread(record: Captured) -> _Measured:
    """Of rows that are evenly spaced over the map."""
    count = 1 if record.pooled else min(SPREAD_ROWS, record.positions - record.prefix)
    values = attention_spread(record.rows(torch.linspace(record.prefix, record.positions - 1, count).long())).cpu()
    return _Measured(values, torch.zeros_like(values), torch.zeros_like(values))


def _tokens(record: Captured, features: Tensor) -> Tensor | None:
    """[N, P, C]; None of a layer that was called with other positions than it attends from."""
    if record.kind != "attention":
        return features.flatten(2).transpose(1, 2)
    return features if features.dim() == 3 and features.shape[1] == record.positions else None


def _rows_of(vectors: Tensor) -> Rows:
    return lambda queries: vectors[:, :, queries.to(vectors.device)]


def _cosine(record: Captured, name: str, rows: Rows) -> _Measured:
    found = CosineDistance(f"{record.path}: {name}")
    size = max(1, CHUNK // max(1, rows(torch.tensor([record.prefix])).numel()))
    for queries in torch.arange(record.prefix, record.positions).split(size):
        found.add(rows(queries))
    values = found.distance().cpu()
    return _Measured(values, 1 - found.count.cpu() / found.total, torch.zeros_like(values))


def _per_image(path: str, found: _Measured, images: int) -> _Measured:
    """The mean over what belongs to one image, such as its windows or frames."""
    if len(found.values) % images:
        raise ValueError(f"{path}: made {len(found.values)} maps of {images} images, which do not divide evenly")
    return _Measured(*(column.unflatten(0, (images, -1)) for column in found)).mean()


def _device(model: nn.Module) -> torch.device:
    """Where to measure: beside the network, if there is float64."""
    parameter = next(model.parameters(), torch.empty(0))
    return parameter.device if parameter.device.type == "cuda" else torch.device("cpu")
