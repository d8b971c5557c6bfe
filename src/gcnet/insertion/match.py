"""Choosing sites: by stage of a known family, or by patterns over module paths."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

from gcnet.insertion.attach import host_modules, original_class
from gcnet.insertion.families import find_stages

#: What ``blocks=`` accepts: indices within every stage, or indices per stage.
Blocks = int | Iterable[int] | Mapping[str, int | Iterable[int]]


def by_stage(model: nn.Module, stages: str | Iterable[str] | None, blocks: Blocks | None) -> list[tuple[str, str]]:
    """(stage, path) of the chosen residual blocks, in the order of the network.

    Raises:
        ValueError: no known family, an unknown stage, several backbones, or an index out of range.
    """
    names = host_modules(model)
    trunks = find_stages(names, {path: original_class(module) for path, module in names.items()})
    if not trunks:
        raise ValueError(
            f"{type(model).__name__} has no stages of residual blocks that gcnet knows; use match= with a pattern"
            f"{candidate_hint(names)}"
        )
    if len(trunks) > 1:
        raise ValueError(
            f"the model has several backbones: {', '.join(repr(trunk) for trunk in trunks)}; pass one of these "
            "submodules instead of the model, or use match="
        )
    found = next(iter(trunks.values()))
    if stages is None:
        stages = list(blocks) if isinstance(blocks, Mapping) else None
    chosen = strings("stages", stages, "c3")
    if not chosen:
        counts = ", ".join(f"{stage} ({len(paths)} blocks)" for stage, paths in found.items())
        raise ValueError(f"say where: stages=, out of {counts}; or match= with a pattern of module paths")
    for stage in chosen:
        if stage not in found:
            raise ValueError(f"stages={chosen!r}: {stage!r} is not a stage of this model; it has {', '.join(found)}")
    if isinstance(blocks, Mapping):
        odd = [stage for stage in blocks if stage not in chosen]
        if odd:
            raise ValueError(f"blocks= names {odd[0]!r}, which is not among stages={chosen!r}")
    sites = []
    for stage in (stage for stage in found if stage in chosen):
        wanted = blocks.get(stage) if isinstance(blocks, Mapping) else blocks
        sites += [(stage, path) for path in _pick(found[stage], wanted, stage)]
    return sites


def strings(name: str, given: str | Iterable[str] | None, example: str) -> tuple[str, ...]:
    """One string or several as a tuple; None as an empty one."""
    strings = (given,) if isinstance(given, str) else given or ()
    if isinstance(strings, bytes) or not isinstance(strings, Iterable):
        raise TypeError(f"{name}={given!r} must be a string such as {example!r}, or several")
    strings = tuple(strings)
    for string in strings:
        if not isinstance(string, str):
            raise TypeError(f"{name}= takes strings such as {example!r}, not {string!r}")
    return strings


def _pick(paths: Sequence[str], wanted: int | Iterable[int] | None, stage: str) -> list[str]:
    if wanted is None:
        return list(paths)
    count = len(paths)
    try:
        indices = [wanted] if isinstance(wanted, int) else [*wanted]
    except TypeError:
        raise TypeError(f"blocks={wanted!r} must be an int, several, or a mapping from stage to ints") from None
    if not indices:
        raise ValueError(
            f"blocks= names no block of {stage}; leave {stage} out of stages=, or name some of 0 to {count - 1}"
        )
    for index in indices:
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"blocks= takes integers, such as -2, not {index!r}")
        if not -count <= index < count:
            raise ValueError(f"blocks={index} is out of range: {stage} has {count} blocks, 0 to {count - 1}")
    chosen = {index % count for index in indices}
    if len(chosen) != len(indices):
        raise ValueError(f"blocks={indices} names a block of {stage} twice")
    return [paths[index] for index in sorted(chosen)]


def by_pattern(model: nn.Module, match: str | Iterable[str]) -> list[str]:
    """Paths that match one of the patterns: ``*`` within one segment of a path, ``**`` over any number of segments.

    Raises:
        ValueError: a pattern without a match, or matches nested in one another.
    """
    patterns = strings("match", match, "stages.*.blocks.*")
    if not patterns:
        raise ValueError("match= is empty; give a pattern such as 'stages.*.blocks.*'")
    names = host_modules(model)
    chosen = []
    for pattern in patterns:
        matcher = path_matcher(pattern)
        found = [path for path in names if matcher.fullmatch(path)]
        if not found:
            near = difflib.get_close_matches(pattern, [*names, *candidates(names)], n=3, cutoff=0.5)
            hint = f"; near it: {', '.join(map(repr, near))}" if near else ""
            raise ValueError(f"match={pattern!r} matches no module{hint}{candidate_hint(names)}")
        chosen += found
    paths = [path for path in names if path in set(chosen)]
    _check_nesting(paths, match, names)
    return paths


def path_matcher(pattern: str) -> re.Pattern[str]:
    """What ``fullmatch``es the paths of a pattern: ``*`` within one segment, ``**`` for any number of segments."""
    parts = []
    for segment in pattern.split("."):
        if segment == "**":
            parts.append(r"(?:[^.]+\.)*")
        else:
            parts.append(
                fnmatch.translate(segment).removeprefix("(?s:").removesuffix(")\\Z").replace(".*", "[^.]*") + r"\."
            )
    expression = "".join(parts)
    return re.compile(expression[:-2] if expression.endswith(r"\.") else expression + r"[^.]+")


def _check_nesting(paths: Sequence[str], match: str | Iterable[str], names: Mapping[str, nn.Module]) -> None:
    known = set(paths)
    inner = {path: parent for path in paths for parent in _parents(path) if parent in known}
    if inner:
        path, parent = next(iter(inner.items()))
        repeating = [pattern for pattern in candidates(names) if any(generalise(path) == pattern for path in paths)]
        narrower = repeating or list(dict.fromkeys(generalise(path) for path in paths if path not in inner))
        raise ValueError(
            f"match={match!r} is ambiguous: {path!r} lies inside {parent!r}, and both match "
            f"({len(paths)} modules in all); narrower, one of: {', '.join(map(repr, narrower[:4]))}"
        )


def _parents(path: str) -> list[str]:
    segments = path.split(".")
    return [".".join(segments[:length]) for length in range(1, len(segments))]


def generalise(path: str) -> str:
    """The pattern of a path: numbers become ``*``."""
    return ".".join("*" if segment.isdecimal() else segment for segment in path.split("."))


def candidates(names: Mapping[str, nn.Module]) -> dict[str, str]:
    """Patterns that repeat over modules of one class with children of their own -> "count x class"."""
    groups: dict[str, list[str]] = {}
    for path, module in names.items():
        if "*" in generalise(path) and any(True for _ in module.children()):
            groups.setdefault(generalise(path), []).append(original_class(module).__name__)
    repeating = {
        pattern: f"{len(classes)} x {classes[0]}"
        for pattern, classes in groups.items()
        if len(classes) > 1 and len(set(classes)) == 1
    }
    return dict(sorted(repeating.items(), key=lambda item: item[0].count(".")))


def candidate_hint(names: Mapping[str, nn.Module]) -> str:
    """A sentence with patterns that would work."""
    found = list(candidates(names).items())[:6] or [(path, type(module).__name__) for path, module in names.items()][:6]
    return "; this model has " + ", ".join(f"{pattern!r} ({what})" for pattern, what in found) if found else ""
