"""The dry run: where blocks would go, how wide they would be, and what they would cost."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from gcnet.blocks.base import BlockSpec
from gcnet.insertion.attach import Place, check_site, check_unwrapped, free_name, host_modules, original_class
from gcnet.insertion.families import residual
from gcnet.insertion.match import Blocks, by_pattern, by_stage
from gcnet.insertion.probe import Seen, conv_dims, measure
from gcnet.insertion.report import table


@dataclass(frozen=True)
class Site:
    """One block to be inserted.

    Attributes:
        path: path of the host module.
        position: ``"after_1x1"``, ``"after_3x3"``, ``"after_add"`` or ``"after_block"``.
        name: name of the new child of the host.
        stage: ``"c2"`` ... ``"c5"``; None for sites found by pattern.
        channels: C.
        dims: number of spatial axes.
        spatial: sizes of the spatial axes for the example input; None without one.
        parameters: parameters added here.
        fuse_residual: whether the block takes over the shortcut and the ReLU of its host.
    """

    path: str
    position: str
    name: str
    stage: str | None
    channels: int
    dims: int
    spatial: tuple[int, ...] | None
    parameters: int
    fuse_residual: bool = False

    @property
    def place(self) -> Place:
        """The block within its host."""
        return Place(self.position, self.name, self.fuse_residual)


@dataclass(frozen=True)
class Plan:
    """Where :func:`gcnet.insert` puts blocks; made by :func:`gcnet.plan`, printable as a table.

    Attributes:
        spec: what goes there.
        sites: where, in the order of the network.
        changes_output: whether the blocks change the output of the model from the start.
        fingerprint: names and shapes of the parameters of the model, if sites were found by pattern.
    """

    spec: BlockSpec
    sites: tuple[Site, ...]
    changes_output: bool
    fingerprint: str = field(default="", repr=False, compare=False)

    @property
    def parameters(self) -> int:
        """Parameters added in total."""
        return sum(site.parameters for site in self.sites)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "spec": repr(self.spec),
            "sites": [asdict(site) for site in self.sites],
            "parameters": self.parameters,
            "changes_output": self.changes_output,
        }

    def __len__(self) -> int:
        return len(self.sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    def __str__(self) -> str:
        remark = "changes the output from the start" if self.changes_output else "output unchanged at the start"
        plural = "s" if len(self) > 1 else ""
        total = f"{len(self)} block{plural}, {self.parameters:,} parameters added, {remark}"
        if any(site.fuse_residual for site in self.sites):
            total += "\nshortcut and ReLU of each host are taken over by its block"
        return f"{self.spec!r}\n{site_table(self.sites)}\n{total}"


def site_table(sites: Iterable[Site]) -> str:
    """The sites as an aligned table, without the columns that nobody fills."""
    columns: dict[str, list[Any]] = {
        "stage": [],
        "path": [],
        "position": [],
        "channels": [],
        "map": [],
        "parameters": [],
    }
    for site in sites:
        columns["stage"].append(site.stage or "")
        columns["path"].append(f"{site.path}.{site.name}")
        columns["position"].append(site.position)
        columns["channels"].append(site.channels)
        columns["map"].append("x".join(map(str, site.spatial)) if site.spatial else "")
        columns["parameters"].append(site.parameters)
    filled = {name: cells for name, cells in columns.items() if any(cell != "" for cell in cells)}
    return table(list(filled), list(zip(*filled.values(), strict=True)))


def plan(
    model: nn.Module,
    spec: BlockSpec,
    *,
    stages: str | Iterable[str] | None = None,
    match: str | Iterable[str] | None = None,
    blocks: Blocks | None = None,
    position: str | None = None,
    fuse_residual: bool = False,
    example: Any = None,
) -> Plan:
    """Find the sites for a block in a built model, and change nothing.

    ResNet-like networks of torchvision and timm, also inside detectors, are addressed by stage; every other model by a
    pattern over its module paths, its channels being measured by one forward on fake tensors.

    Args:
        model: any model, not yet compiled or distributed.
        spec: what to insert, such as ``GlobalContext.spec(ratio=1/16)``.
        stages: out of ``"c2"`` ... ``"c5"``; with ``blocks`` as a mapping its keys are the default.
        match: a pattern or several, such as ``"stages.*.blocks.*"``: ``*`` stands for anything within one segment of a
            path, ``**`` for any number of segments.
        blocks: which residual blocks of each stage: an index or several, negative from the end, or a mapping such as
            ``{"c3": [1, 3], "c4": [1, 3, 5]}``. All by default.
        position: ``"after_1x1"`` (default with ``stages``), ``"after_3x3"`` (default for ``SelectiveKernel``, which
            SKNet has there), ``"after_add"`` or ``"after_block"`` (default with ``match``, possible on any module
            that returns one tensor [N, C, *spatial]). An output in channels-last order ([N, H, W, C], such as
            Swin's) is refused if the probe can tell it, not in every case. After a container the block runs when the
            container is called; code that walks over its children instead, such as gradient checkpointing of whole
            stages, may go past it: match the children then.
        fuse_residual: let each block add the shortcut of its host and apply the ReLU too, ``relu(block(x) + shortcut)``
            in one pass, for the same outputs. With ``stages`` and ``"after_1x1"``, in hosts that have nothing between
            branch and shortcut and a plain ReLU at the end. Their own ReLU is not called then, except while it has
            hooks.
        example: an input, to show the size of maps, or where guessing one fails: a tensor, its shape, a tuple of
            positional or a dict of keyword arguments. For a model with a ``backbone`` it is the input of the backbone.

    Raises:
        ValueError: nothing or too much matches, a site is taken, shared between paths or unable to host a block; the
            message says what was found and what would work.
        RuntimeError: the model is compiled or distributed already.

    Example:
        >>> from torch import nn
        >>> import gcnet
        >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU())
        >>> print(gcnet.plan(model, gcnet.GlobalContext.spec(ratio=1/4), match=["1", "3"]))
        GlobalContext.spec(ratio=1/4, init='identity', gate='centred')
        path             position     channels  parameters
        1.context_block  after_block        16         173
        3.context_block  after_block        32         601
        2 blocks, 774 parameters added, output unchanged at the start
    """
    if not isinstance(spec, BlockSpec):
        raise TypeError(f"spec={spec!r} is not a block specification; write it as GlobalContext.spec(ratio=1/16)")
    check_unwrapped(model, "plan")
    if match is None:
        chosen: list[tuple[str | None, str]] = [*by_stage(model, stages, blocks)]
    elif stages is not None or blocks is not None:
        raise ValueError("match= chooses modules by itself; leave stages= and blocks= out, or leave match= out")
    else:
        chosen = [(None, path) for path in by_pattern(model, match)]

    if not isinstance(fuse_residual, bool):
        raise TypeError(f"fuse_residual={fuse_residual!r} must be True or False")
    if fuse_residual and match is not None:
        raise ValueError("fuse_residual=True goes with stages=, which name residual blocks; leave it out with match=")

    modules = host_modules(model)
    places = [
        (path, _default_position(modules[path], match, spec) if position is None else position) for _, path in chosen
    ]
    for path, where in places:
        _check_shared(path, modules)
        check_site(modules[path], path, where, fuse_residual)

    if match is not None or example is not None:
        maps = measure(model, places, example)
    else:
        maps = [_known_map(modules[path], where) for path, where in places]
    sites = []
    for (stage, path), (_, where), seen in zip(chosen, places, maps, strict=True):
        dims = len(seen.spatial)
        spatial = seen.spatial if example is not None else None
        parameters = spec.parameter_count(seen.channels, dims=dims)
        name = free_name(modules[path])
        sites.append(Site(path, where, name, stage, seen.channels, dims, spatial, parameters, fuse_residual))
    smallest = min(sites, key=lambda site: site.channels)
    changes_output = _changes_output(spec, smallest.channels, smallest.dims)
    return Plan(spec, tuple(sites), changes_output, "" if match is None else _fingerprint(model))


#: Options of :func:`plan` that :func:`gcnet.insert` takes too.
PLAN_OPTIONS = tuple(name for name in inspect.signature(plan).parameters if name not in ("model", "spec"))


def check_fits(plan: Plan, model: nn.Module) -> None:
    """Raise ValueError if a plan by pattern, whose channels were measured, is for a model of other shapes."""
    if plan.fingerprint and plan.fingerprint != _fingerprint(model):
        raise ValueError(
            "the plan does not fit this model: its sites were measured on a model whose parameters have other names or "
            "shapes; plan again"
        )


def _fingerprint(model: nn.Module) -> str:
    shapes = [(name, tuple(parameter.shape)) for name, parameter in model.named_parameters()]
    return hashlib.sha256(repr(shapes).encode()).hexdigest()


def _known_map(module: nn.Module, position: str) -> Seen:
    """Channels and rank out of the table; sizes unknown, all zero."""
    known = residual(original_class(module))
    assert known is not None, "stages hold known blocks only"
    return Seen(known.channels(module, position), (0,) * conv_dims(module).pop())


def _default_position(module: nn.Module, match: str | Iterable[str] | None, spec: BlockSpec) -> str:
    known = residual(original_class(module))
    if known is None or match is not None:
        return "after_block"
    if not spec.block.can_be_identity and "after_3x3" in known.positions:
        return "after_3x3"
    return known.positions[0]


def _check_shared(path: str, modules: Mapping[str, nn.Module]) -> None:
    names = [name for name, module in modules.items() if module is modules[path]]
    if len(names) > 1:
        raise ValueError(
            f"{' and '.join(map(repr, names))} are one shared module; a block in it would run at each of them. "
            "Give each its own (copy.deepcopy), or choose another"
        )


def _changes_output(spec: BlockSpec, channels: int, dims: int) -> bool:
    """Whether a new block is anything but the identity, by trying one."""
    if not spec.block.can_be_identity:
        return True
    if spec.options["init"] == "identity":
        return False
    with torch.random.fork_rng([]), torch.no_grad(), torch.device("cpu"):
        block = spec.build(channels, dims=dims, dtype=torch.float32).eval()
        x = torch.randn(1, channels, *[8] * dims)
        return not torch.equal(block(x), x)
