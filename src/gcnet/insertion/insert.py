"""Putting planned blocks into a model, and taking them out again."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gcnet.blocks.base import BlockSpec
from gcnet.insertion.attach import (
    added_blocks,
    attach,
    check_site,
    check_unwrapped,
    detach,
    has_name,
    host_modules,
    original_class,
)
from gcnet.insertion.families import residual
from gcnet.insertion.plan import PLAN_OPTIONS, Plan, Site, check_fits, plan
from gcnet.insertion.probe import conv_dims
from gcnet.insertion.report import Added, Report


def insert(
    model: nn.Module,
    what: Plan | BlockSpec,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    **plan_options: Any,
) -> Report:
    """Put blocks into a built model, in place. A failure leaves the model as it was.

    Every block becomes a child of its host, ``<path>.context_block``, in the device, dtype and training mode of the
    host; all other names of the model stay, and so do its outputs, unless the report says otherwise.

    Args:
        model: the model that the plan was made for, or one built alike.
        what: a :func:`plan`, or a specification with the options of :func:`plan`.
        optimizer: warn if it lacks the new parameters.
        plan_options: as for :func:`plan`.

    Raises:
        ValueError: as :func:`plan`; or a plan that does not fit this model.
        RuntimeError: the model is compiled or distributed already.

    Example:
        >>> from torch import nn
        >>> import gcnet
        >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU())
        >>> print(gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1"))
        path             position     block          channels  parameters
        1.context_block  after_block  GlobalContext        16         173
        inserted 1 block, 173 parameters
        >>> len(gcnet.remove(model))
        1
    """
    check_unwrapped(model, "insert")
    odd = [name for name in plan_options if name not in PLAN_OPTIONS]
    if odd:
        near = difflib.get_close_matches(odd[0], PLAN_OPTIONS, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"insert() has no option {odd[0]!r}{hint} Options: {', '.join(PLAN_OPTIONS)}, optimizer")
    if isinstance(what, BlockSpec):
        what = plan(model, what, **plan_options)
    elif not isinstance(what, Plan):
        raise TypeError(
            f"insert() takes a plan or a specification such as GlobalContext.spec(ratio=1/16), not {what!r}"
        )
    elif plan_options:
        raise TypeError(f"{', '.join(plan_options)}: options of plan(); the plan given has them already")
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer={optimizer!r} is not a torch.optim.Optimizer")
    check_fits(what, model)
    modules = host_modules(model)
    with torch.inference_mode(False):
        built = [(site, *_build(what.spec, site, modules, model)) for site in what.sites]
    if optimizer is not None:
        _warn_of_missing(optimizer, [parameter for _, _, block in built for parameter in block.parameters()])
    attached = []
    try:
        for site, host, block in built:
            attach(host, site.place, block)
            attached.append((host, site.name))
    except BaseException:
        for host, name in reversed(attached):
            detach(host, name)
        raise
    blocks = tuple(Added.of(site.path, host, site.place, block) for site, host, block in built)
    return Report(blocks, "inserted", what.changes_output)


def _build(
    spec: BlockSpec, site: Site, modules: Mapping[str, nn.Module], model: nn.Module
) -> tuple[nn.Module, nn.Module]:
    host = modules.get(site.path)
    if host is None:
        raise ValueError(f"the plan does not fit this model: there is no module {site.path!r}")
    check_site(host, site.path, site.position, site.fuse_residual)
    if has_name(host, site.name):
        raise ValueError(f"the plan does not fit this model: {site.path!r} has a {site.name!r} already; plan again")
    known = residual(original_class(host))
    if known and site.dims not in conv_dims(host):
        raise ValueError(f"the plan does not fit this model: {site.path!r} is not {site.dims}D")
    if known and known.channels(host, site.position) != site.channels:
        raise ValueError(
            f"the plan does not fit this model: {site.path!r} has {known.channels(host, site.position)} channels "
            f"{site.position}, the plan says {site.channels}"
        )
    like = next((p for m in (host, model) for p in m.parameters() if p.is_floating_point()), torch.empty(0))
    block = spec.build(site.channels, dims=site.dims, device=like.device, dtype=like.dtype)
    return host, block.train(host.training)


def _warn_of_missing(optimizer: torch.optim.Optimizer, added: list[nn.Parameter]) -> None:
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    missing = [parameter for parameter in added if id(parameter) not in held]
    if missing:
        warnings.warn(
            f"the optimizer does not hold the {len(missing)} new parameters, which would never learn; call "
            'optimizer.add_param_group({"params": gcnet.added_parameters(model)})',
            stacklevel=3,
        )


def remove(model: nn.Module) -> Report:
    """Take every context block out, in place: original classes, modules, names and outputs come back.

    Raises:
        ValueError: the model has none, or a host whose class was changed since, such as by a parametrisation.
        RuntimeError: the model is compiled or distributed already.

    Example:
        >>> import torch, gcnet
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU())
        >>> _ = gcnet.insert(model, gcnet.GlobalContext.spec(ratio=1/4), match="1")
        >>> type(model[1]).__name__
        'ReLUWithContext'
        >>> _ = gcnet.remove(model)
        >>> type(model[1]).__name__
        'ReLU'
    """
    check_unwrapped(model, "remove")
    found = list(added_blocks(model))
    if not found:
        raise ValueError(f"this {type(model).__name__} has no context block to remove")
    for path, host, _, _ in found:
        if "_context_places" not in vars(type(host)):
            raise ValueError(f"{path!r} became a {type(host).__name__} after insertion; undo that first, then remove")
    blocks = tuple(Added.of(path, host, place, block) for path, host, place, block in found)
    for _, host, place, _ in found:
        detach(host, place.name)
    return Report(blocks, "removed")
