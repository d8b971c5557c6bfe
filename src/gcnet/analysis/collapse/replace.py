"""Replacing non-local blocks whose attention does not depend on the query by blocks with one map."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from gcnet.analysis.bootstrap import Interval, bootstrap
from gcnet.analysis.collapse.build import merged_block
from gcnet.analysis.collapse.distillation import distilled
from gcnet.analysis.collapse.merge import Pooled
from gcnet.analysis.collapse.observe import observe
from gcnet.analysis.collapse.report import (
    CollapsedBlock,
    CollapseReport,
    LeftBlock,
    Pair,
    QueryDependentError,
)
from gcnet.blocks import NonLocal
from gcnet.blocks.base import Block, check_choice
from gcnet.insertion.attach import check_unwrapped
from gcnet.insertion.match import path_matcher
from gcnet.insertion.places import Holders, put
from gcnet.insertion.swap import block_call, check_bare
from gcnet.models.sameness import block_paths

#: Defaults: average cosine distance between the rows of a map, and share of the output that varies with the query.
THRESHOLD, TOLERANCE = 0.1, 0.3


def collapse(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    to: str = "gc",
    ratio: float | None = None,
    kept: float | None = None,
    threshold: float = THRESHOLD,
    tolerance: float = TOLERANCE,
    force: bool = False,
    match: str | None = None,
    distill: int = 0,
    seed: int = 0,
    forward: Callable[[Any], Any] | None = None,
) -> CollapseReport:
    """Replace non-local blocks whose attention does not depend on the query by SNL or GC blocks, in place.

    The network runs once over the data, in eval mode. A block is collapsed if the rows of its attention maps hardly
    differ (``threshold``) and its output hardly differs between positions (``tolerance``); both are averages over
    images, and the upper end of their 95 % bootstrap interval counts. A block whose output, or whose map, is zero on
    all images stays.

    The one map of the new block is that of the average query, or one fitted to the mean map of each image where that is
    closer; its transform is the old value, output projection and BatchNorm of evaluation as one, which GC has at a low
    rank. New blocks have the device, dtype, mode and ``requires_grad`` of the old ones.

    Kept in memory are the inputs of the blocks: images x C x P numbers each.

    Args:
        model: with non-local blocks, attached, swapped or its own.
        batches: what ``forward`` takes, such as images [N, 3, H, W]; representative, and not what is scored later.
        to: ``"gc"``, or ``"snl"``, which keeps the transform whole.
        ratio: hidden width / channels of GC; by default 1/16.
        kept: instead, the least width that keeps this share of the variance of the transformed contexts.
        threshold: largest average cosine distance between the rows of a map; see
            :func:`gcnet.analysis.query_dependence.cosine_distance`.
        tolerance: largest ||y_i - mean_i y_i|| / ||y_i|| of the output y before fusion.
        force: collapse whatever the data say.
        match: pattern of block paths; by default all.
        distill: train each new block for so many steps to give what the old one gave.
        seed: of the distillation.
        forward: runs the network on a batch; by default ``model``.

    Returns:
        A report; its ``undo()`` puts the old blocks back.

    Raises:
        QueryDependentError: the attention of every block depends on the query; the network stays as it was.
        ValueError: no non-local block, or none that matches, runs, or can be replaced; no data; options that do not go
            together.
        RuntimeError: the model is compiled or distributed already.

    Example:
        >>> import torch, gcnet
        >>> from gcnet.analysis.collapse import collapse
        >>> block = gcnet.NonLocal(16)
        >>> _ = torch.nn.init.normal_(block.out.weight)
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), block).eval()
        >>> report = collapse(model, [torch.randn(8, 3, 8, 8)], to="snl")
        >>> type(model[1]).__name__, report.collapsed[0].error < 0.05
        ('SimplifiedNonLocal', True)
        >>> report.undo()
        >>> model[1] is block
        True
    """
    check_unwrapped(model, "collapse")
    _check_options(to, ratio, kept, threshold, tolerance, distill)
    found = _find(model, match)
    left = {path: LeftBlock(path, reason) for path, block in found.items() if (reason := _obstacle(path, block))}
    free = {path: block for path, block in found.items() if path not in left}
    seen = observe(model, free, batches, forward or model) if free else {}
    collapsed, pairs = [], []
    for path in free:
        observed = seen.get(path)
        if observed is None:
            left[path] = LeftBlock(path, "it does not run on this data")
            continue
        attention, variation = bootstrap(observed.of("distance")), bootstrap(observed.variation)
        against = observed.idle or _excess(attention, variation, threshold, tolerance)
        if against and not force:
            left[path] = LeftBlock(path, against, *(() if observed.idle else (attention, variation)))
            continue
        learned, judged = observed.split()
        merged = merged_block(learned, judged, to, ratio, kept)
        built = distilled(merged, learned, judged, distill, seed=seed) if distill else merged
        errors = judged.error_of(merged), judged.error_of(built)
        now = block_call(type(built), built.channels, built.specification.options)
        sizes = parameter_count(observed.block), parameter_count(built)
        collapsed.append(CollapsedBlock(path, now, attention, variation, *errors, *sizes, bool(against)))
        pairs.append(Pair(observed.block, _at_home(built, observed.block), _holders(model, observed.block)))
    if not pairs:
        raise _refusal(left.values())
    for pair in pairs:
        put(pair.holders, pair.new)
    images = len(next(iter(seen.values())).of("output"))
    return CollapseReport(
        tuple(collapsed),
        tuple(left[path] for path in found if path in left),
        images,
        threshold,
        tolerance,
        model,
        pairs,
    )


def _check_options(
    to: str, ratio: float | None, kept: float | None, threshold: float, tolerance: float, distill: int
) -> None:
    check_choice("to", to, ("gc", "snl"))
    if to == "snl" and (ratio, kept) != (None, None):
        raise ValueError(f"ratio={ratio} and kept={kept} go with to='gc'; an SNL block has no bottleneck")
    if ratio is not None and kept is not None:
        raise ValueError(f"ratio={ratio} and kept={kept}: give one of them")
    if ratio is not None and not 0 < ratio <= 1:
        raise ValueError(f"ratio={ratio} must lie between 0 and 1, such as 1/16; to='snl' keeps the transform whole")
    if kept is not None and not 0 < kept <= 1:
        raise ValueError(f"kept={kept} must lie between 0 and 1, such as 0.99")
    for name, value in (("threshold", threshold), ("tolerance", tolerance)):
        if not value > 0:
            raise ValueError(f"{name}={value} must be positive; force=True collapses whatever the data say")
    if distill < 0:
        raise ValueError(f"distill={distill} must be a number of steps, 0 for none")


def _find(model: nn.Module, match: str | None) -> dict[str, NonLocal]:
    """First path -> non-local block."""
    paths = block_paths(model)
    found: dict[NonLocal, str] = {}
    for path, block in paths.items():
        if isinstance(block, NonLocal):
            found.setdefault(block, path)
    if not found:
        others = ", ".join(sorted({type(block).__name__ for block in paths.values()}))
        has = f"its blocks are {others}" if others else "it has no blocks of gcnet"
        raise ValueError(f"nothing to collapse: this {type(model).__name__} has no non-local block, {has}")
    chosen = {path: block for block, path in found.items() if match is None or path_matcher(match).fullmatch(path)}
    if not chosen:
        raise ValueError(f"match={match!r} matches none of the non-local blocks: {', '.join(found.values())}")
    return chosen


def _obstacle(path: str, block: NonLocal) -> str | None:
    """Why a block cannot be replaced."""
    if not path:
        return "it is the model itself, which cannot be replaced in place; wrap it in nn.Sequential"
    if type(block).forward is not NonLocal.forward:
        return f"its class {type(block).__name__} has a forward of its own"
    try:
        check_bare(block)
    except ValueError as reason:
        return str(reason)
    return None


def _excess(attention: Interval, variation: Interval, threshold: float, tolerance: float) -> str:
    """What speaks against collapsing a block; empty if nothing does."""
    parts = []
    if _upper(attention) > threshold:
        parts.append(f"cosine distance {attention} of its attention is above threshold={threshold:g}")
    if _upper(variation) > tolerance:
        parts.append(f"share {variation} of its output that varies is above tolerance={tolerance:g}")
    return " and ".join(parts)


def _upper(interval: Interval) -> float:
    return interval.mean if interval.high is None else interval.high


def _refusal(left: Iterable[LeftBlock]) -> ValueError:
    reasons = "; ".join(f"{block.path}: {block.reason}" for block in left)
    if any(block.attention for block in left):
        return QueryDependentError(f"attention depends on the query: {reasons}; force=True (--force) overrides")
    return ValueError(f"nothing to collapse: {reasons}")


def _at_home(built: Pooled, block: NonLocal) -> Block:
    """``built`` with the device, dtype, mode and flags of the block that it replaces."""
    weight = block.value.weight
    built.to(weight.device, weight.dtype).train(block.training)
    built.requires_grad_(any(parameter.requires_grad for parameter in block.parameters()))
    built.enabled = block.enabled
    return built


def _holders(model: nn.Module, block: nn.Module) -> Holders:
    return tuple((m, name) for m in model.modules() for name, child in m._modules.items() if child is block)


def parameter_count(module: nn.Module) -> int:
    """Numbers in the parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
