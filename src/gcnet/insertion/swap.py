"""Replacing attention blocks that a built model has already by ours, with the same weights and the same outputs."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import nn

from gcnet.blocks.base import Block, format_option
from gcnet.insertion.attach import check_unwrapped, host_modules, original_class, places_of
from gcnet.insertion.match import path_matcher, strings
from gcnet.insertion.places import Holders, check_in_place, put
from gcnet.insertion.report import table
from gcnet.layouts import FOREIGN, Foreign, Key, qualified_name
from gcnet.layouts.twin import difference, known, restore, twin

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


@dataclass(frozen=True)
class Swapped:
    """One block that was replaced.

    Attributes:
        paths: its module path, or several if the module is shared.
        was: the class it had.
        now: our block with its options, where they are not the default.
        parameters: parameters of the block.
        difference: relative difference of the outputs, see :func:`swap`.
    """

    paths: tuple[str, ...]
    was: str
    now: str
    parameters: int
    difference: float


@dataclass(frozen=True)
class Left:
    """One block that stays as it is, and why."""

    paths: tuple[str, ...]
    was: str
    reason: str


class _Pair(NamedTuple):
    """A replaced module, its replacement, the table between them, and who holds it under which name."""

    theirs: nn.Module
    ours: Block
    keys: tuple[Key, ...]
    holders: Holders


@dataclass(frozen=True)
class SwapReport:
    """What :func:`swap` replaced, and what it left; printable. Length and iteration are those of ``swapped``.

    Attributes:
        swapped: the blocks that were replaced.
        left: the blocks that were not, each with the reason.
    """

    swapped: tuple[Swapped, ...]
    left: tuple[Left, ...]
    _model: nn.Module = field(repr=False)
    _pairs: list[_Pair] = field(repr=False)

    @property
    def parameters(self) -> int:
        """Parameters of all the replaced blocks."""
        return sum(block.parameters for block in self.swapped)

    def __len__(self) -> int:
        return len(self.swapped)

    def __iter__(self) -> Iterator[Swapped]:
        return iter(self.swapped)

    def __str__(self) -> str:
        rows = [(_join(block.paths), block.was, block.now, block.parameters) for block in self]
        worst = max(block.difference for block in self)
        lines = [
            table(["path", "was", "now", "parameters"], rows),
            f"swapped {len(self)} block{'s' if len(self) > 1 else ''}, {self.parameters:,} parameters; "
            f"same outputs in float64 to {worst:.0e}, relative",
        ]
        if self.left:
            lines.append(f"left as they are:\n{_left_table(self.left)}")
        return "\n".join(lines)

    def undo(self) -> None:
        """Put the original modules back, with the present weights, statistics, device and dtype of ours.

        Raises:
            RuntimeError: undone already, the model has other blocks there by now, or it is compiled or distributed.
        """
        check_unwrapped(self._model, "swap back")
        if not self._pairs:
            raise RuntimeError("this swap was undone already; call gcnet.swap(model) to swap again")
        for pair, block in zip(self._pairs, self.swapped, strict=True):
            check_in_place(pair.holders, pair.ours, _join(block.paths), by="swap")
        for pair in self._pairs:
            restore(pair.ours, pair.theirs, pair.keys)
        for pair in self._pairs:
            put(pair.holders, pair.theirs)
        self._pairs.clear()


def swap(model: nn.Module, match: str | Iterable[str] | None = None) -> SwapReport:
    """Replace attention blocks of timm, torchvision and mmcv in a built model by ours, in place.

    Known are timm's ``GlobalContext``, ``SEModule``, ``NonLocalAttn`` and EfficientNet ``SqueezeExcite``, torchvision's
    ``SqueezeExcitation``, mmcv's ``ContextBlock`` and ``NonLocal1d/2d/3d``. Ours take their weights, statistics,
    device, dtype, training flags and ``requires_grad``; the state-dict keys of these blocks become ours. Before
    anything is replaced, a copy of each block with random weights has to give the outputs of its replacement, in
    float64, in training and in evaluation. What ours cannot express stays as it is, with the reason in the report.

    The parameters are new objects: swap before building an optimizer, compiling or distributing.

    Args:
        model: any model.
        match: a pattern of module paths or several, such as ``"layer3.*.se"``: ``*`` stands for anything within one
            segment of a path, ``**`` for any number of segments. By default all known blocks.

    Returns:
        A report; its ``undo()`` puts the original modules back with the present weights.

    Raises:
        ValueError: nothing to swap, or a pattern that matches no known block; the message lists what was found.
        RuntimeError: the model is compiled or distributed already.

    Example:
        >>> import gcnet
        >>> from torch import nn
        >>> from torchvision.ops import SqueezeExcitation
        >>> model = nn.Sequential(nn.Conv2d(3, 32, 3), SqueezeExcitation(32, 8))
        >>> report = gcnet.swap(model)
        >>> print(report)
        path  was                            now                          parameters
        1     torchvision SqueezeExcitation  SqueezeExcite(32, hidden=8)         552
        swapped 1 block, 552 parameters; same outputs in float64 to ..., relative
        >>> report.undo()
    """
    check_unwrapped(model, "swap")
    found = _find(model)
    if not found:
        names = ", ".join(dict.fromkeys(map(str, FOREIGN.values())))
        count = sum(isinstance(module, Block) for module in model.modules())
        remark = f", but {count} of gcnet already" if count else ""
        raise ValueError(f"this {type(model).__name__} has none of the blocks that can be swapped ({names}){remark}")
    owners = _owners(model)
    swapped, left, pairs = [], [], []
    for paths in _choose(found, match):
        module = found[paths]
        foreign = known(module)
        assert foreign is not None
        try:
            _check_replaceable(module, foreign, paths, owners)
            reading = foreign.read(module)
            distance = difference(module, foreign)
            ours = twin(module, foreign, reading)
        except (ValueError, RuntimeError, AttributeError, IndexError, TypeError) as reason:
            left.append(Left(paths, str(foreign), " ".join(str(reason).split())))
            continue
        size = sum(parameter.numel() for parameter in ours.parameters())
        swapped.append(
            Swapped(paths, str(foreign), block_call(foreign.block, reading.channels, reading.options), size, distance)
        )
        pairs.append(_Pair(module, ours, reading.keys, tuple(_holder(model, path) for path in paths)))
    if not pairs:
        raise ValueError(f"nothing was swapped in this {type(model).__name__}:\n{_left_table(left)}")
    for pair in pairs:
        put(pair.holders, pair.ours)
    return SwapReport(tuple(swapped), tuple(left), model, pairs)


def _find(model: nn.Module) -> dict[tuple[str, ...], nn.Module]:
    """Paths -> module of every block of a known class, in the order of the model."""
    paths: dict[nn.Module, list[str]] = {}
    for path, module in {"": model, **host_modules(model)}.items():
        if known(module):
            paths.setdefault(module, []).append(path)
    return {tuple(names): module for module, names in paths.items()}


def _choose(found: Mapping[tuple[str, ...], nn.Module], match: str | Iterable[str] | None) -> Iterable[tuple[str, ...]]:
    if match is None:
        return found
    patterns = strings("match", match, "layer3.*.se")
    if not patterns:
        raise ValueError("match= is empty; give a pattern such as 'layer3.*.se', or leave it out to swap every block")
    chosen = set()
    for pattern in patterns:
        matcher = path_matcher(pattern)
        hits = {paths for paths in found if any(matcher.fullmatch(path) for path in paths)}
        if not hits:
            some = ", ".join(f"{_join(paths)!r}" for paths in list(found)[:6]) + (" ..." if len(found) > 6 else "")
            raise ValueError(f"match={pattern!r} matches none of the {len(found)} blocks that can be swapped: {some}")
        chosen |= hits
    return [paths for paths in found if paths in chosen]


def _owners(model: nn.Module) -> Counter[int]:
    """Identity of every parameter -> number of modules that hold it."""
    return Counter(id(parameter) for module in model.modules() for parameter in module._parameters.values())


def _check_replaceable(module: nn.Module, foreign: Foreign, paths: tuple[str, ...], owners: Mapping[int, int]) -> None:
    if "" in paths:
        raise ValueError("it is the model itself, which cannot be replaced in place; wrap it in nn.Sequential")
    if places_of(module):
        raise ValueError("it hosts a context block, which would be lost; gcnet.remove(model) first")
    base: Any = next(cls for cls in type(module).__mro__ if qualified_name(cls) == foreign.name)
    if type(module).forward is not base.forward:
        raise ValueError(f"its class {original_class(module).__name__} has a forward of its own")
    check_bare(module)
    if any(owners[id(parameter)] > 1 for parameter in module.parameters()):
        raise ValueError("it shares parameters with another module")


def check_bare(module: nn.Module) -> None:
    """Raise ValueError if a module has what would be lost with it: hooks, a patched forward."""
    for part in module.modules():
        if "forward" in vars(part) or any(getattr(part, hooks) for hooks in _HOOKS):
            raise ValueError("it has hooks or a patched forward, which would be lost; remove them first")
    if any(parameter._backward_hooks for parameter in module.parameters()):
        raise ValueError("a parameter has gradient hooks, which would be lost; remove them first")


def block_call(block: type[Block], channels: int, options: Mapping[str, Any]) -> str:
    """How a block is built, without options that are at their default."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(block).parameters.items()}
    given = {name: value for name, value in options.items() if value != defaults[name]}
    return f"{block.__name__}({channels}{''.join(f', {k}={format_option(v)}' for k, v in given.items())})"


def _holder(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, name = path.rpartition(".")
    return model.get_submodule(parent), name


def _left_table(left: Iterable[Left]) -> str:
    rows: list[tuple[Any, ...]] = [(_join(block.paths), block.was, block.reason) for block in left]
    return table(["path", "is", "reason"], rows)


def _join(paths: tuple[str, ...]) -> str:
    return " = ".join(path or "(the model)" for path in paths)
