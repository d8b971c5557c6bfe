"""A table of an ablation as a typed value: variants, each the difference to one base configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gcnet.training.config import TrainingConfig


@dataclass(frozen=True)
class Variant:
    """One row of a table.

    Attributes:
        name: short, unique within the table, such as "all-gc".
        label: as the report prints it, such as "+ all GC".
        changes: fields of the base configuration that are different here.
    """

    name: str
    label: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Variants to compare, one question.

    Attributes:
        name: as the command line has it, such as "block".
        title: one line, such as "Block design".
        variants: the rows, in the order of the report.
        baseline: name of the variant that the others are compared with.
        paper: name of the paper's table beside which this one is reported; empty for none.
        note: what a reader should know about it; empty for nothing.

    Raises:
        ValueError: no or repeated names, a baseline that is no variant.

    Example:
        >>> table = Table("eca", "GC against ECA", (
        ...     Variant("none", "none", {"block": "none"}),
        ...     Variant("eca", "ECA of timm", {"block": "timm.layers:EcaModule", "stages": ("c3", "c4", "c5")}),
        ... ), baseline="none")
        >>> table["eca"].label
        'ECA of timm'
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    baseline: str
    paper: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(names) < 2:
            raise ValueError(f"table {self.name!r} has {len(names)} variants; a comparison needs at least two")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"table {self.name!r}: {', '.join(map(repr, repeated))} are names of several variants")
        if self.baseline not in names:
            raise ValueError(f"baseline={self.baseline!r} is no variant of table {self.name!r}: {', '.join(names)}")

    def __getitem__(self, name: str) -> Variant:
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.variants)
        raise KeyError(f"table {self.name!r} has no variant {name!r}: {known}")

    def configs(self, base: TrainingConfig) -> dict[str, TrainingConfig]:
        """The configuration of every variant.

        Args:
            base: what all of them share. Its own block, and where that goes, are taken out first: a variant says all
                about its block.

        Raises:
            ValueError: a field that the task does not have, or a value that does not fit, naming the variant.
        """
        plain = without_block(base)
        return {variant.name: _changed(plain, variant) for variant in self.variants}


#: What a configuration says about its block.
BLOCK_FIELDS: Mapping[str, Any] = {
    "block": "none",
    "ratio": None,
    "block_options": (),
    "stages": (),
    "blocks": (),
    "match": (),
    "position": None,
    "init": "identity",
}


def without_block(base: TrainingConfig) -> TrainingConfig:
    """The configuration of the plain network."""
    return dataclasses.replace(base, **BLOCK_FIELDS)


def _changed(plain: TrainingConfig, variant: Variant) -> TrainingConfig:
    known = {entry.name for entry in dataclasses.fields(plain)}
    for name in variant.changes:
        if name not in known:
            raise ValueError(f"variant {variant.name!r}: {plain.task} has no field {name!r}")
    try:
        return dataclasses.replace(plain, **variant.changes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"variant {variant.name!r}: {error}") from error
