"""The contestants: other libraries' blocks with the weights of ours, floors, and our own implementations by name."""

from __future__ import annotations

import copy
import importlib
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from gcnet.benchmarks.cases import FORWARD, Case
from gcnet.benchmarks.published import as_published
from gcnet.benchmarks.workload import inputs
from gcnet.blocks import GlobalContext, NonLocal, SqueezeExcite
from gcnet.export.formats import FORMATS, Run
from gcnet.insertion import remove
from gcnet.insertion.attach import added_blocks
from gcnet.layouts.twin import known, restore
from gcnet.ops.backend import BACKENDS, backend

OURS = "gcnet"
#: Contestants that compute less than ours, as a bound.
FLOORS = ("copy", "plain")
#: By op, those that are asked when nobody is named.
DEFAULTS = {
    "global_context": ("mmcv", "timm", "published", "copy"),
    "squeeze_excite": ("timm", "torchvision", "published", "copy"),
    "non_local": ("mmcv", "published"),
    "network": ("plain", "mmcv", "timm"),
}
#: Bytes of the largest tensor that a peer may lay out.
LARGEST_TENSOR = 2 * 2**30


class InapplicableError(Exception):
    """A contestant that cannot run a case; the message says why."""


@dataclass
class Contestant:
    """A module to be timed.

    Attributes:
        name: ``"gcnet"``, a peer or one of our implementations.
        module: has the weights of ours.
        backend: our implementation that is forced, or None.
        floor: computes something else than ours, as a bound; parity does not ask for it.
        names: its parameters' names -> ours, where they differ.
    """

    name: str
    module: nn.Module
    backend: str | None = None
    floor: bool = False
    names: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Force the implementation, if there is one to force."""
        with nullcontext() if self.backend is None else backend(self.backend):
            yield


def peers() -> tuple[str, ...]:
    """Every name that ``--vs`` takes; our own implementations come last.

    Example:
        >>> from gcnet.benchmarks.peers import peers
        >>> peers()[:8]
        ('mmcv', 'timm', 'torchvision', 'published', 'compile', 'onnx', 'aoti', 'copy')
    """
    return (*_PEERS, *BACKENDS)


def contestant(name: str, case: Case, ours: nn.Module) -> Contestant:
    """A contestant with the weights of ``ours``.

    Raises:
        InapplicableError: it is not installed or cannot run the case.
    """
    if name == OURS:
        made = Contestant(name, ours)
    elif name in BACKENDS:
        made = Contestant(name, ours, backend=name)
    else:
        made = _PEERS[name](case, ours)
    made.module.train(ours.training)
    if case.compiled and name != "compile":
        made.module = torch.compile(made.module, dynamic=False)  # type: ignore[assignment]
    return made


def _published(case: Case, ours: nn.Module) -> Contestant:
    module = copy.deepcopy(ours)
    blocks = [block for _, _, _, block in added_blocks(module)] if case.op == "network" else [module]
    for block in blocks:
        as_published(block)
    return Contestant("published", module)


def _compiled(case: Case, ours: nn.Module) -> Contestant:
    module: Any = torch.compile(_published(case, ours).module, dynamic=False)
    return Contestant("compile", module)


class _Program(nn.Module):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]


def _exported(to: str) -> Callable[[Case, nn.Module], Contestant]:
    """Ours as an exported program of one shape, without gcnet's kernels."""

    def make(case: Case, ours: nn.Module) -> Contestant:
        if case.mode != FORWARD or case.compiled or next(ours.parameters()).is_cuda:
            raise InapplicableError("exported programs run forward, uncompiled, on CPUs")
        if to == "onnx" and (case.dtype != torch.float32 or case.layout != "contiguous"):
            raise InapplicableError("ONNX Runtime is given contiguous float32 maps")
        for module in FORMATS[to].needs:
            _imported(module, '"gcnet[export]"')
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            path = Path(folder, f"program{FORMATS[to].suffix}")
            program = torch.export.export(copy.deepcopy(ours).eval(), (inputs(case, "cpu")[0].x,))
            FORMATS[to].write(program, ["output"], path)
            return Contestant(to, _Program(FORMATS[to].load(path)))

    return make


class _Copy(nn.Module):
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.target = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        if self.target.shape != x.shape:
            self.target = torch.empty_like(x)
        return self.target.copy_(x)


def _copy(case: Case, ours: nn.Module) -> Contestant:
    if case.op == "network":
        raise InapplicableError("the floor of a network is plain")
    return Contestant("copy", _Copy(case), floor=True)


def _plain(case: Case, ours: nn.Module) -> Contestant:
    if case.op != "network":
        raise InapplicableError("the floor of a block is copy")
    module = copy.deepcopy(ours)
    remove(module)
    return Contestant("plain", module, floor=True)


def _foreign(name: str, build: Callable[[Case, nn.Module], nn.Module]) -> Callable[[Case, nn.Module], Contestant]:
    """A contestant whose blocks are those of another library, alone or in the place of ours within a network."""

    def make(case: Case, ours: nn.Module) -> Contestant:
        if case.op != "network":
            module, names = _with_weights_of(ours, build(case, ours))
            return Contestant(name, module, names=names)
        model, names = copy.deepcopy(ours), {}
        for path, host, place, block in list(added_blocks(model)):
            peer, own = _with_weights_of(block, build(case, block))
            peer.enabled = True  # type: ignore[assignment]
            host._modules[place.name] = peer
            prefix = f"{path}.{place.name}."
            names |= {prefix + theirs: prefix + mine for theirs, mine in own.items()}
        return Contestant(name, model, names=names)

    return make


def _with_weights_of(block: Any, peer: nn.Module) -> tuple[nn.Module, dict[str, str]]:
    foreign = known(peer)
    assert foreign is not None
    keys = foreign.read(peer).keys
    restore(block, peer, keys)
    return peer, {key.theirs: key.ours for key in keys}


def _mmcv(case: Case, block: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bricks: Any = _imported("mmcv.cnn.bricks", "mmcv-lite")
    if isinstance(block, GlobalContext):
        _needs_2d("mmcv", case)
        pooling = "att" if block.pooling == "attention" else "avg"
        fusions = {"add": "channel_add", "scale": "channel_mul"}
        ratio = (block.hidden or 0) / block.channels
        return bricks.ContextBlock(block.channels, ratio, pooling, tuple(fusions[name] for name in block.fusion))
    if isinstance(block, NonLocal):
        return _mmcv_non_local(bricks, case, block)
    raise InapplicableError("mmcv has no squeeze-and-excitation block")


def _mmcv_non_local(bricks: Any, case: Case, block: NonLocal) -> nn.Module:
    dims = len(case.shape) - 2
    if block.pairwise == "concatenation":
        size = prod((case.shape[0], 2 * block.hidden, case.positions, case.positions, case.dtype.itemsize))
        if size > LARGEST_TENSOR:
            raise InapplicableError(f"mmcv would lay out {size / 2**30:.0f} GiB of pairs")
    peer = getattr(bricks, f"NonLocal{dims}d")(
        block.channels,
        reduction=block.channels // block.hidden,
        use_scale=block.scale is not None,
        mode=block.pairwise,
    )
    if block.pairwise == "concatenation":
        # as released it cannot be trained: an in-place division destroys what its ReLU keeps for the backward
        peer.concat_project.activate = _Clamp()
    return peer


class _Clamp(nn.Module):
    """ReLU whose backward needs its input only."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=0)


def _timm(case: Case, block: nn.Module) -> nn.Module:
    layers: Any = _imported("timm.layers", "timm")
    _needs_2d("timm", case)
    if isinstance(block, GlobalContext):
        return layers.GlobalContext(
            block.channels,
            use_attn=block.pooling == "attention",
            fuse_add="add" in block.fusion,
            fuse_scale="scale" in block.fusion,
            rd_channels=block.hidden,
        )
    if isinstance(block, SqueezeExcite):
        return layers.SEModule(block.channels, rd_channels=block.hidden)
    raise InapplicableError("timm's non-local block ends in a BatchNorm, these cases do not")


def _torchvision(case: Case, block: nn.Module) -> nn.Module:
    misc: Any = _imported("torchvision.ops.misc", "torchvision")
    if not isinstance(block, SqueezeExcite):
        raise InapplicableError("torchvision has squeeze-and-excitation only")
    return misc.SqueezeExcitation(block.channels, block.hidden)


def _imported(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InapplicableError(f"not installed: pip install {package}") from error


def _needs_2d(library: str, case: Case) -> None:
    if len(case.shape) != 4:
        raise InapplicableError(f"{library}'s block takes 4-D maps only")


_PEERS: dict[str, Callable[[Case, nn.Module], Contestant]] = {
    "mmcv": _foreign("mmcv", _mmcv),
    "timm": _foreign("timm", _timm),
    "torchvision": _foreign("torchvision", _torchvision),
    "published": _published,
    "compile": _compiled,
    "onnx": _exported("onnx"),
    "aoti": _exported("aoti"),
    "copy": _copy,
    "plain": _plain,
}


def contestants(case: Case, ours: nn.Module, names: Sequence[str]) -> tuple[list[Contestant], dict[str, str]]:
    """Ours first, then those of ``names`` that can run the case; and the reasons of the others."""
    made, absent = [contestant(OURS, case, ours)], {}
    for name in names:
        try:
            made.append(contestant(name, case, ours))
        except InapplicableError as reason:
            absent[name] = str(reason)
    return made, absent
