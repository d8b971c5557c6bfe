"""The registry: what is measured."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any

import torch

FORWARD, TRAINING = MODES = ("forward", "forward+backward")
_SHORT = {"global_context": "gc", "squeeze_excite": "se", "non_local": "nl", "network": "network"}


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        op: ``"global_context"``, ``"squeeze_excite"``, ``"non_local"`` or ``"network"``, a ResNet-50 with GC blocks.
        label: what distinguishes it, such as ``"c3-batch1"``.
        shape: of the input, [N, C, *spatial].
        mode: ``"forward"`` without autograd, or ``"forward+backward"`` with the gradients of the parameters and, but
            for networks, of the input.
        options: of the block.
        dtype: of the input and of the weights.
        layout: ``"contiguous"`` or ``"channels_last"``.
        device: the only one it is meant for, or None.
        compiled: every contestant goes through torch.compile.
        depths: residual blocks per stage, for networks.
    """

    op: str
    label: str
    shape: tuple[int, ...]
    mode: str
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    layout: str = "contiguous"
    device: str | None = None
    compiled: bool = False
    depths: tuple[int, ...] = (3, 4, 6, 3)

    @property
    def name(self) -> str:
        """Such as ``"gc/c3-batch1/forward"``."""
        return f"{_SHORT[self.op]}/{self.label}/{self.mode}"

    @property
    def positions(self) -> int:
        """P."""
        return prod(self.shape[2:])

    @property
    def least_passes(self) -> int | None:
        """Map-sized reads and writes that no implementation of a pooled block can avoid; None for the others.

        Forward: read x, write y. Backward: read x and the gradient, write a gradient; an average that is added needs
        no x there. Everything else is smaller than the map by a factor of C or P.
        """
        if self.op not in ("global_context", "squeeze_excite"):
            return None
        if self.mode == FORWARD:
            return 2
        linear = self.options.get("pooling") == "average" and self.options.get("fusion", ("add",)) == ("add",)
        return 4 if linear and self.op == "global_context" else 5

    def shrunk(self) -> Case:
        """The same in small, for tests: nothing compiled, at most 64 channels and 2 samples."""
        if self.op == "network":
            return replace(self, shape=(2, 3, 64, 64), depths=(1, 1, 1, 1), compiled=False)
        samples, channels, *spatial = self.shape
        options = dict(self.options)
        if "ratio" in options:
            options["ratio"] = max(options["ratio"], 1 / 8)  # a LayerNorm over two channels has no gradient to speak of
        if "hidden" in options:
            options["hidden"] = min(options["hidden"], 16)
        small = (min(samples, 2), min(channels, 64), *(min(size, 7 - axis) for axis, size in enumerate(spatial)))
        return replace(self, shape=small, options=options)


def _both(op: str, label: str, shape: tuple[int, ...], **more: Any) -> Iterator[Case]:
    for mode in MODES:
        yield Case(op, label, shape, mode, **more)


RESNET50 = {"c2": (32, 256, 56, 56), "c3": (32, 512, 28, 28), "c4": (32, 1024, 14, 14), "c5": (16, 2048, 7, 7)}
_DETECTION = {"c3": (2, 512, 100, 168), "c4": (2, 1024, 50, 84), "c5": (2, 2048, 25, 42)}
_LAST: dict[str, Any] = {"layout": "channels_last"}
_BF16: dict[str, Any] = {"dtype": torch.bfloat16}
_R16 = {"ratio": 1 / 16}


def _global_context() -> Iterator[Case]:
    def both(label: str, shape: tuple[int, ...], *, ratio: float = 1 / 16, **more: Any) -> Iterator[Case]:
        options = {"ratio": ratio, **more.pop("options", {})}
        yield from _both("global_context", label, shape, options=options, **more)

    for stage, shape in RESNET50.items():
        yield from both(stage, shape)
    for stage, shape in RESNET50.items():
        yield from both(f"{stage}-batch1", (1, *shape[1:]))
    for stage in ("c3", "c5"):
        yield from both(f"{stage}-channels_last", RESNET50[stage], **_LAST)
    yield from both("c2-bfloat16", RESNET50["c2"], **_BF16)
    yield from both("c4-bfloat16-channels_last", RESNET50["c4"], **_BF16, **_LAST)
    yield from both("c3-scale", RESNET50["c3"], options={"fusion": ("scale",)})
    yield from both("c3-add-scale", RESNET50["c3"], options={"fusion": ("add", "scale")})
    yield from both("c3-average", RESNET50["c3"], options={"pooling": "average"})
    yield from both("tiny", (1, 64, 7, 7), ratio=1 / 8)
    yield from both("one-position", (2, 32, 1, 1), ratio=1 / 4)
    for stage, shape in _DETECTION.items():
        yield from both(f"detection-{stage}", shape)
    yield from both("video", (8, 1024, 4, 14, 14))


def _squeeze_excite() -> Iterator[Case]:
    for stage, shape in RESNET50.items():
        yield from _both("squeeze_excite", stage, shape, options=_R16)
    for stage in ("c3", "c5"):
        yield from _both("squeeze_excite", f"{stage}-batch1", (1, *RESNET50[stage][1:]), options=_R16)
    yield from _both("squeeze_excite", "c3-channels_last", RESNET50["c3"], options=_R16, **_LAST)
    yield from _both("squeeze_excite", "c2-bfloat16", RESNET50["c2"], options=_R16, **_BF16)


def _non_local() -> Iterator[Case]:
    forms: dict[str, dict[str, Any]] = {
        "softmax": {"pairwise": "embedded_gaussian", "scale": "inverse_sqrt"},
        "dot": {"pairwise": "dot_product"},
        "concat": {"pairwise": "concatenation"},
    }
    for positions, shape in {784: (4, 512, 28, 28), 3136: (1, 512, 56, 56)}.items():
        for form, options in forms.items():
            if form == "concat":  # the pairs that the published form lays out
                shape = (1, *shape[1:])
            yield from _both("non_local", f"{form}-p{positions}", shape, options={"hidden": 256, **options})
    yield from _both("non_local", "concat-p6272", (1, 256, 8, 28, 28), options={"hidden": 128, **forms["concat"]})
    for form, options in forms.items():  # what memory linear in P is for; backward, the float64 map needs 10 GB
        shape = (1, 512, *_DETECTION["c3"][2:])
        yield Case("non_local", f"{form}-p16800", shape, FORWARD, {"hidden": 256, **options})
    options = {"hidden": 256, **forms["softmax"]}
    yield from _both("non_local", "softmax-p784-bfloat16", (4, 512, 28, 28), **_BF16, options=options)


def _networks() -> Iterator[Case]:
    for label, more in (
        ("resnet50-batch8", {"device": "cpu"}),
        ("resnet50-batch8-channels_last", {"device": "cpu", **_LAST}),
        ("resnet50-batch8-channels_last-compiled", {"device": "cpu", **_LAST, "compiled": True}),
        ("resnet50-batch64", {"device": "cuda"}),
        ("resnet50-batch64-bfloat16-channels_last", {"device": "cuda", **_BF16, **_LAST}),
        ("resnet50-batch64-bfloat16-channels_last-compiled", {"device": "cuda", **_BF16, **_LAST, "compiled": True}),
    ):
        samples = 8 if more["device"] == "cpu" else 64
        yield from _both("network", label, (samples, 3, 224, 224), options=_R16, **more)


#: Every case, in the order of the tables.
CASES: tuple[Case, ...] = (*_global_context(), *_squeeze_excite(), *_non_local(), *_networks())


def select(patterns: Sequence[str], device: str, cases: Sequence[Case] = CASES) -> list[Case]:
    """The cases for ``device`` whose names match one of ``patterns``; all of them without patterns.

    ``*`` matches anything, slashes too.

    Raises:
        ValueError: a pattern that matches nothing, with the nearest names.

    Example:
        >>> from gcnet.benchmarks.cases import select
        >>> [case.name for case in select(["gc/c2/*"], "cpu")]
        ['gc/c2/forward', 'gc/c2/forward+backward']
    """
    offered = [case for case in cases if case.device in (None, device)]
    names = [case.name for case in offered]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=2, cutoff=0.3)
            hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise ValueError(f"case {pattern!r} matches nothing on {device}. {hint}--list names them all")
    return [case for case in offered if not patterns or any(fnmatchcase(case.name, p) for p in patterns)]
