"""Non-local blocks of other libraries, read off their tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from torch import Tensor

from gcnet.blocks.base import check_choice
from gcnet.blocks.non_local import NonLocal, check_window
from gcnet.layouts.reading import check_writable, checked, name_of, settle, widths
from gcnet.layouts.scales import logit_scale, nearest_rule, rescaled
from gcnet.layouts.table import BlockLayout, Key, Reading

#: Pairwise functions that share one set of tensors.
_EMBEDDED = ("embedded_gaussian", "dot_product")
_NORM_EPS = 1e-5


@dataclass(frozen=True, kw_only=True)
class NonLocalSource:
    """What one source of non-local blocks has.

    Attributes:
        name: of the layout.
        keys: (spatial axes, sub-sampled, with norm) -> table of its tensors.
        pairwise: our word -> what its constructor needs for that function; the first is its default.
        scales: rule of the logit scale -> what its constructor needs for it; the first is its default.
        dims: numbers of spatial axes that it exists for.
        subsample: whether it pools keys and values ``"before"`` or ``"after"`` their projection; None if it cannot.
        pool: how its constructor is given a window; None if it has one window only.
        norm: whether it has a norm; both, if that shows in the keys.
        bias_with_norm: whether the output projection keeps its bias before a norm.
    """

    name: str
    keys: Callable[[int, bool, bool], tuple[Key, ...]]
    pairwise: Mapping[str, str]
    scales: Mapping[str, str]
    dims: tuple[int, ...] = (1, 2, 3)
    subsample: str | None = None
    pool: str | None = None
    norm: tuple[bool, ...] = (False, True)
    bias_with_norm: bool = True

    @property
    def layout(self) -> BlockLayout:
        """The layout of such a block."""
        anchors = dict.fromkeys(self._anchor(*variant) for variant in self._variants())
        return BlockLayout(self.name, NonLocal, tuple(anchors), self._read, self._write, self._needs)

    def _variants(self) -> tuple[tuple[bool, bool], ...]:
        """(sub-sampled, with norm)."""
        return tuple(product((False, True) if self._pooling_shows else (False,), self.norm))

    @property
    def _pooling_shows(self) -> bool:
        return self.subsample is not None and self.keys(2, True, True) != self.keys(2, False, True)

    def _anchor(self, subsampled: bool, norm: bool) -> tuple[str, ...]:
        keys = self.keys(2, subsampled, norm)
        wanted = ["value.weight", "out.weight"]
        if "gaussian" not in self.pairwise:
            wanted += ["query.weight", "key.weight"]
        if norm and (self.norm == (True,) or self.keys(2, subsampled, False) != keys):
            wanted.append("norm.weight")
        return tuple(name_of(keys, ours) for ours in wanted)

    def _read(self, tensors: Mapping[str, Tensor], options: Mapping[str, Any]) -> Reading:
        subsampled, norm = self._variant(tensors)
        dims = tensors[name_of(self.keys(2, subsampled, norm), "out.weight")].dim() - 2
        if dims not in self.dims:
            raise ValueError(f"{self.name} has {' or '.join(map(str, self.dims))} spatial axes, these tensors {dims}")
        keys = self.keys(dims, subsampled, norm)
        channels, hidden = widths(self.name, keys, "out.weight", tensors)
        present = {key.ours for key in keys if key.theirs in tensors}
        norm = "norm.weight" in present
        told: dict[str, Any] = {"hidden": hidden, "norm": norm, "out_bias": self._has_bias(norm)}
        assumed: dict[str, Any] = {}
        self._read_pairwise(present, told, assumed, options)
        self._read_subsample(subsampled, dims, told, assumed, options)
        options = dict(options)
        if "scale" in options:
            options["scale"] = logit_scale(options["scale"], channels, hidden)
        chosen, left = settle(self.name, told, assumed, options)
        chosen["scale"] = logit_scale(chosen["scale"], channels, hidden)
        if chosen["subsample"]:
            _window(chosen["subsample_size"], dims)
        return checked(self.name, NonLocal, Reading(channels, chosen, keys, left, dims), tensors)

    def _variant(self, tensors: Mapping[str, Tensor]) -> tuple[bool, bool]:
        """(sub-sampled, with norm), as the keys show it."""
        for variant in self._variants():
            if set(self._anchor(*variant)) <= tensors.keys():
                return variant
        absent = [key for key in self._anchor(*self._variants()[0]) if key not in tensors]
        raise ValueError(f"{self.name} has tensors {', '.join(absent)}, which are missing here")

    def _read_pairwise(
        self, present: set[str], told: dict[str, Any], assumed: dict[str, Any], options: Mapping[str, Any]
    ) -> None:
        if "concat.weight" in present:
            told["pairwise"] = "concatenation"
        elif "query.weight" not in present:
            told["pairwise"] = "gaussian"
        elif "dot_product" not in self.pairwise:
            told["pairwise"] = "embedded_gaussian"
        else:
            assumed["pairwise"] = "embedded_gaussian"
            check_choice("pairwise", options.get("pairwise", "embedded_gaussian"), _EMBEDDED)
        if {**told, **assumed, **options}["pairwise"] == "embedded_gaussian":
            assumed["scale"] = next(iter(self.scales))
        else:
            told["scale"] = None

    def _read_subsample(
        self, subsampled: bool, dims: int, told: dict[str, Any], assumed: dict[str, Any], options: Mapping[str, Any]
    ) -> None:
        if self.subsample is None or self._pooling_shows:
            told["subsample"] = self.subsample if subsampled else None
        else:
            assumed["subsample"] = None
            check_choice("subsample", options.get("subsample"), (None, self.subsample))
        if told.get("subsample", options.get("subsample")) is not None:
            assumed["subsample_size"] = _usual_window(dims)

    def _write(self, block: NonLocal, dims: int) -> tuple[Key, ...]:
        name = self.name
        check_writable(name, block, NonLocal, dims, self.dims)
        if block.pairwise not in self.pairwise:
            raise ValueError(f"{name} has no pairwise={block.pairwise!r}, only {', '.join(self.pairwise)}")
        self._check_subsample(block, dims)
        norm = block.norm is not None
        if norm not in self.norm:
            raise ValueError(f"{name} has {'always' if self.norm[0] else 'never'} a norm, this block has norm={norm}")
        if block.norm is not None and block.norm.eps != _NORM_EPS:
            raise ValueError(f"the BatchNorm of {name} has eps={_NORM_EPS}, that of this block eps={block.norm.eps}")
        bias = block.out.bias is not None
        if bias != self._has_bias(norm):
            remedy = "" if bias else ", where a bias of zero would do: give the block out_bias=True and that"
            raise ValueError(
                f"the output projection of {name} has {'no' if bias else 'a'} bias{' before a norm' if norm else ''}, "
                f"this block has out_bias={bias}{remedy}"
            )
        keys = self.keys(dims, block.subsample is not None, norm)
        if block.pairwise != "embedded_gaussian":
            if block.scale not in (None, 1):
                raise ValueError(f"{name} has no scale with pairwise={block.pairwise!r}, this block has {block.scale}")
            return keys
        return rescaled(keys, block.scale, logit_scale(self._rule(block), block.channels, block.hidden))

    def _check_subsample(self, block: NonLocal, dims: int) -> None:
        if block.subsample not in (None, self.subsample):
            order = f"subsample={self.subsample!r}" if self.subsample else "no sub-sampling"
            raise ValueError(f"{self.name} has {order}, this block subsample={block.subsample!r}; they are not equal")
        if block.subsample is not None:
            window, usual = (_window(size, dims) for size in (block.subsample_size, _usual_window(dims)))
            if self.pool is None and window != usual:
                raise ValueError(
                    f"{self.name} pools windows of {usual}, this block has subsample_size={block.subsample_size}"
                )

    def _has_bias(self, norm: bool) -> bool:
        """Whether the output projection has a bias."""
        return self.bias_with_norm or not norm

    def _rule(self, block: NonLocal) -> str:
        return nearest_rule(block.scale, self.scales, block.channels, block.hidden)

    def _needs(self, block: NonLocal) -> tuple[str, ...]:
        scale = self.scales[self._rule(block)] if block.pairwise == "embedded_gaussian" else ""
        pool = f"{self.pool}={block.subsample_size}" if self.pool and block.subsample else ""
        return tuple(filter(None, (self.pairwise[block.pairwise], scale, pool)))


def _usual_window(dims: int) -> int | tuple[int, ...]:
    """The window of all sources: 2, but 1 in time."""
    return (1, 2, 2) if dims == 3 else 2


def _window(size: int | tuple[int, ...], dims: int) -> tuple[int, ...]:
    size = check_window(size)
    sizes = (size,) * dims if isinstance(size, int) else size
    if len(sizes) != dims:
        raise ValueError(f"subsample_size={size} has {len(sizes)} axes, the block has {dims}")
    return sizes
