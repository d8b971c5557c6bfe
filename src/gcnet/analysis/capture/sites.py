"""Finding the attention of a model."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType

import torch
from torch import nn

from gcnet.analysis.capture.attention import Layer
from gcnet.analysis.capture.blocks import block_kind
from gcnet.analysis.capture.compiled import is_compiled
from gcnet.analysis.capture.grid import declared_grids, declared_prefix
from gcnet.blocks import Block
from gcnet.insertion.attach import host_modules, original_class
from gcnet.insertion.match import candidate_hint, path_matcher, strings

#: What code of a module that attends names, itself or in a function it calls.
_NAMES = frozenset({"scaled_dot_product_attention", "softmax", "Softmax"})


@dataclass(frozen=True, eq=False)
class Site:
    """A module whose attention can be captured: a block, an nn.MultiheadAttention, or code of somebody else."""

    layer: Layer
    module: nn.Module


def find_sites(model: nn.Module, match: str | Iterable[str] | None) -> list[Site]:
    """The attention of a model, or of the modules that match: those at a matching path, and all inside them.

    Raises:
        ValueError: there is none, or a pattern without any.
    """
    named = {clean(path): module for path, module in model.named_modules()}
    attending = set(_attending(model, {}))
    sites = [Site(_layer(path, named), module) for path, module in named.items() if module in attending]
    if not sites:
        raise ValueError(_nothing(model, named))
    if match is None:
        return sites
    patterns = strings("match", match, "layer3.*")
    if not patterns:
        raise ValueError(f"match={match!r} holds no pattern; give one such as 'layer3.*', or leave it out for all")
    chosen: set[Site] = set()
    for pattern in patterns:
        matcher = path_matcher(pattern)
        found = {site for site in sites if any(map(matcher.fullmatch, _upwards(site.layer.path)))}
        if not found:
            raise ValueError(_no_match(pattern, sites))
        chosen |= found
    return [site for site in sites if site in chosen]


def clean(path: str) -> str:
    """A path without what torch.compile puts into it."""
    return ".".join(segment for segment in path.split(".") if segment != "_orig_mod")


def same_forward(module: nn.Module, cls: type[nn.Module]) -> bool:
    """Whether a module runs the forward of ``cls``, but for blocks that were inserted."""
    return original_class(module).forward is cls.forward


def _attending(module: nn.Module, known: dict[type, bool]) -> Iterator[nn.Module]:
    """The innermost modules with attention."""
    if isinstance(module, Block):
        if module.enabled and block_kind(module):
            yield module
        return
    if isinstance(module, nn.MultiheadAttention) and same_forward(module, nn.MultiheadAttention):
        yield module
        return
    if isinstance(module, torch.jit.ScriptModule):
        return
    inside = [found for child in module.children() for found in _attending(child, known)]
    cls = type(module)
    if not inside and cls not in known:
        known[cls] = any(_attends(function) for base in cls.__mro__ for function in _functions(base))
    if not inside and known[cls] and not any(map(is_compiled, module.children())):
        yield module
    yield from inside


def _functions(cls: type) -> Iterator[FunctionType]:
    """Methods of a class that is none of torch's own."""
    if cls.__module__.partition(".")[0] != "torch":
        for value in vars(cls).values():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            function = getattr(function, "__wrapped__", function)
            if isinstance(function, FunctionType):
                yield function


def _attends(function: FunctionType) -> bool:
    names = _names(function.__code__)
    called = [function.__globals__.get(name) for name in names]
    names.update(getattr(other, "__name__", "") for other in called)  # imported under another name
    codes = [inspect.unwrap(other).__code__ for other in called if isinstance(other, FunctionType)]
    return any(not _NAMES.isdisjoint(found) for found in (names, *map(_names, codes)))


def _names(code: CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


def _layer(path: str, named: dict[str, nn.Module]) -> Layer:
    around = [named[above] for above in (*_upwards(path)[1:], "") if above in named]
    return Layer(path, declared_prefix(around), tuple(declared_grids(named[path], around)))


def _upwards(path: str) -> list[str]:
    """A path and those of the modules around it, but for the model itself."""
    segments = path.split(".")
    return [".".join(segments[:length]) for length in range(len(segments), 0, -1)]


def _nothing(model: nn.Module, named: dict[str, nn.Module]) -> str:
    off = [path for path, module in named.items() if isinstance(module, Block) and not module.enabled]
    remedy = (
        f"its blocks are disabled ({off[0]!r}); gcnet.enable(model) turns them on"
        if off
        else "insert blocks first, such as gcnet.insert(model, gcnet.NonLocal.spec(), match=...)"
        + candidate_hint(host_modules(model))
    )
    return (
        f"this {type(model).__name__} has no attention to capture: no GlobalContext, ContextBlock, SimplifiedNonLocal "
        "or NonLocal block with an attention map, no nn.MultiheadAttention, and no module whose code calls "
        f"scaled_dot_product_attention or softmax; {remedy}"
    )


def _no_match(pattern: str, sites: list[Site]) -> str:
    paths = [site.layer.path for site in sites]
    near = difflib.get_close_matches(pattern, [above for path in paths for above in _upwards(path)], n=3, cutoff=0.5)
    hint = f"; near it: {', '.join(map(repr, dict.fromkeys(near)))}" if near else ""
    shown = ", ".join(map(repr, paths[:6])) + (f" and {len(paths) - 6} more" if len(paths) > 6 else "")
    return f"match={pattern!r} matches no module with attention{hint}; this model has {shown}"
