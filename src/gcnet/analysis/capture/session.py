"""The context in which attention is collected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from gcnet.analysis.capture.compiled import outermost_compiled, twice
from gcnet.analysis.capture.maps import Maps
from gcnet.analysis.capture.observe import Observer
from gcnet.analysis.capture.queries import check_queries
from gcnet.analysis.capture.sites import find_sites
from gcnet.insertion.attach import check_model
from gcnet.insertion.state import unwrapped


@contextmanager
def capture(
    model: nn.Module,
    match: str | Iterable[str] | None = None,
    *,
    queries: Iterable[Sequence[float]] | None = None,
    device: torch.device | str | None = "cpu",
) -> Iterator[Maps]:
    """Collect the attention of the blocks and attention layers of ``model`` that run inside.

    Seen are GC, SNL and NL blocks; ``nn.MultiheadAttention``, its fused paths included; and any module whose own code,
    or a function it calls, calls ``scaled_dot_product_attention`` or multiplies a softmax with values by matmul, bmm or
    ``@``, as the transformers of timm, torchvision and transformers do. A map that is changed before (talking heads) is
    not seen, and such a module is not looked into if there is other attention within it. Outputs, gradients, running
    statistics and random numbers are those without the context, to the bit.

    Memory is linear in the number of positions, see :class:`Captured`; only a map that the network itself lays out is
    kept as such. Of compiled modules (``torch.compile(model)``, ``model.compile()``) the output comes from the compiled
    code, and what is seen from a second pass without it, in which hooks of yours run again. Give what you call: of a
    compiled model the compiled one. Modules that run again in a backward pass (checkpointing) are not seen twice.

    Contexts can be nested. Several threads may run the model inside one context; contexts on one model that are not
    nested, in several threads, are not supported.

    Args:
        model: with attention; also compiled, or in DistributedDataParallel.
        match: pattern of paths, or several: ``*`` within one segment of a path, ``**`` over any number. Chosen are the
            modules that match and those inside them; by default all.
        queries: keep only these queries, points as shares of the axes such as (0.5, 0.25) for (y, x), as layers have
            different grids; by default all.
        device: where what is collected is kept, and maps are computed from it; None for where it is.

    Raises:
        ValueError: there is no attention, or none that matches; no module of those ran inside; queries that do not fit.
        TypeError: no module, or one whose code cannot be looked into.

    Example:
        >>> from torch import nn
        >>> import gcnet
        >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), gcnet.NonLocal(16))
        >>> with capture(model) as maps:
        ...     _ = model(torch.randn(2, 3, 8, 8))
        >>> maps["1"].attention.shape
        torch.Size([2, 36, 36])
        >>> with capture(model, "1", queries=[(0.5, 0.5)]) as maps:
        ...     _ = model(torch.randn(2, 3, 8, 8))
        >>> maps["1"].attention.shape, maps["1"].map(0).shape
        (torch.Size([2, 1, 36]), torch.Size([6, 6]))
    """
    _check(model)
    sites = find_sites(unwrapped(model), match)
    maps = Maps()
    observer = Observer(maps, check_queries(queries), None if device is None else torch.device(device))
    compiled = list(outermost_compiled(model))
    with ExitStack() as stack:
        stack.callback(observer.close)
        stack.enter_context(observer.observing(model, sites, compiled))
        for module in compiled:
            stack.callback(twice(module, partial(observer.observing, module, sites)))
        yield maps
    if not maps.ever:
        paths = ", ".join(repr(site.layer.path) for site in sites[:6])
        raise ValueError(
            f"nothing was captured: none of {paths}{' ...' * (len(sites) > 6)} attended inside the context; call the "
            "model that was given to capture, or a part of it, there; a softmax counts where matmul, bmm or @ "
            "multiplies it with values"
        )


def _check(model: Any) -> None:
    check_model(model)
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("model is a ScriptModule, whose code cannot be looked into; capture the module it was made of")
    if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
        raise TypeError(
            f"model is in DataParallel over {len(model.device_ids)} devices, which runs copies of it; capture "
            "model.module and call that"
        )
