"""How much the attention of a network depends on the query, measured over images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcnet.analysis.audit_report import Audit, BlockAudit
from gcnet.analysis.bootstrap import Interval, bootstrap
from gcnet.analysis.capture import Captured, capture
from gcnet.analysis.paper_statistics import matching_setup
from gcnet.analysis.query_dependence import CHUNK, CosineDistance, estimate_jensen_shannon

__all__ = ["Audit", "BlockAudit", "Interval", "audit"]


def audit(
    model: nn.Module,
    batches: Iterable[Tensor],
    *,
    forward: Callable[[Tensor], Any] | None = None,
    match: str | None = None,
    pairs: int | None = 4096,
    resamples: int = 2000,
    seed: int = 0,
) -> Audit:
    """Measure every block and attention layer over images: GCNet, Cao et al. (arXiv:1904.11492), section 3.2.

    In every image, the average cosine distance between positions is measured for what comes into a block, what the
    block adds to it and the rows of its attention map, and the Jensen-Shannon divergence for rows that are
    distributions; then they are averaged over images, with a bootstrap interval. No map is laid out: memory grows with
    a batch and its positions, not with the number of images, of which only these four numbers per block and head are
    kept.

    A block with one map for all positions (GC, SNL) is measured at its input; the rest is 0 by construction and left
    out. A block whose output is zero, as that of a fresh one, has no distance there; see :attr:`BlockAudit.zeros`.
    Tokens before those of the picture, such as the class token, are no positions, but keys. Where images are cut into
    windows, the windows of an image are measured one by one and averaged.

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
        ValueError: no images, no block, values that are not finite.

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
    with torch.no_grad(), _evaluating(model):
        for batch in batches:
            if not len(batch):
                continue
            with capture(model, match, device=_device(model)) as maps:
                (forward or model)(batch)
            for path in maps:
                for call, record in enumerate(maps.calls(path)):
                    _gather(lines, record, call, len(batch), pairs, generator)
            images += len(batch)
    if not images:
        raise ValueError("batches holds no images; give at least one")
    blocks = tuple(line.result(resamples, seed) for line in lines.values())
    if not blocks:
        raise ValueError(f"match={match!r}: no block with attention ran in {type(model).__name__}")
    paths = [block.path for block in blocks if block.kind == "non_local"]
    drawn = pairs if any(block.divergence_error for block in blocks) else None
    return Audit(blocks, images, matching_setup(model, paths), drawn)


class _Measured(NamedTuple):
    """Values of a batch, their share of vectors of zeros, and their standard errors: [N, heads] each."""

    values: Tensor
    zeros: Tensor
    errors: Tensor


class _Line:
    """What a line of the report has seen so far."""

    def __init__(self, path: str, record: Captured, head: int | None) -> None:
        self.path, self.kind, self.head = path, record.kind, head
        self.pairwise = record.pairwise if record.kind == "non_local" else None
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
            values, shares, errors = (torch.cat(column) for column in zip(*parts, strict=True))
            kept = values[~values.isnan()]
            intervals[name] = bootstrap(kept, resamples=resamples, seed=seed) if len(kept) else None
            if shares.any():
                zeros[name] = shares.mean().item()
            if name == "divergence":
                error = errors.square().sum().sqrt().item() / len(errors)
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
    of_heads = ("attention", "divergence") if record.kind == "attention" else ()
    for head in (None, *range(record.heads if of_heads else 0)):
        line = lines.setdefault((path, head), _Line(path, record, head))
        if head is None:
            part = {name: _over_heads(measured) for name, measured in found.items()}
        else:
            part = {name: _Measured(*(column[:, head] for column in found[name])) for name in of_heads}
        line.add(part, record.positions - record.prefix, images)


def _measure(record: Captured, pairs: int | None, generator: torch.Generator) -> dict[str, _Measured]:
    """Every quantity of one call, for each of its maps."""
    positions = record.positions - record.prefix

    def features(name: str) -> _Measured:
        values: Tensor = getattr(record, name)
        vectors = values[:, record.prefix :] if record.kind == "attention" else values.flatten(2).transpose(1, 2)
        size = max(1, CHUNK // max(1, vectors[:, 0].numel()))
        return _cosine(f"{record.path}: {name}", (part[:, None] for part in vectors.split(size, 1)))

    found = {"input": features("input")}
    if record.pooled:
        return found
    found["output"] = features("output")
    size = max(1, CHUNK // record.rows([0]).numel())
    queries = torch.arange(record.prefix, record.positions)
    found["attention"] = _cosine(f"{record.path}: attention", (record.rows(part) for part in queries.split(size)))
    if record.softmax:
        mean, error = estimate_jensen_shannon(
            lambda part: record.rows(part + record.prefix),
            positions,
            pairs=pairs,
            generator=generator,
            name=f"{record.path}: attention",
        )
        found["divergence"] = _Measured(mean.cpu(), torch.zeros(mean.shape), error.cpu())
    return found


def _cosine(name: str, chunks: Iterable[Tensor]) -> _Measured:
    found = CosineDistance(name)
    for rows in chunks:
        found.add(rows)
    values = found.distance().cpu()
    return _Measured(values, 1 - found.count.cpu() / found.total, torch.zeros_like(values))


def _per_image(path: str, found: _Measured, images: int) -> _Measured:
    """The mean over what belongs to one image, such as its windows or frames."""
    if len(found.values) % images:
        raise ValueError(f"{path}: made {len(found.values)} maps of {images} images, which do not divide evenly")
    values, zeros, errors = (column.unflatten(0, (images, -1)) for column in found)
    return _Measured(values.nanmean(1), zeros.mean(1), errors.square().sum(1).sqrt() / errors.shape[1])


def _over_heads(found: _Measured) -> _Measured:
    values, zeros, errors = found
    return _Measured(values.nanmean(1), zeros.mean(1), errors.square().sum(1).sqrt() / errors.shape[1])


def _device(model: nn.Module) -> torch.device:
    """Where to measure: beside the network, if there is float64."""
    parameter = next(model.parameters(), torch.empty(0))
    return parameter.device if parameter.device.type == "cuda" else torch.device("cpu")


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
