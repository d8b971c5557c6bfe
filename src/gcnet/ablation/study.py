"""One table on one task and data set: which runs belong to it. What a driver writes and a report reads."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gcnet.ablation.table import Table, Variant


@dataclass(frozen=True)
class Study:
    """A table, and the runs of its variants.

    Attributes:
        name: of table, task and the hash of everything all its runs share, such as "block-classification-1f2e3d4c".
        table: what is compared.
        task: classification, detection, segmentation or video.
        base: configuration of the plain network as plain values, seed left out.
        data: fingerprint of the data.
        about: one line on data and network, as the report prints it.
        command: that runs it again.
        keys: variant -> seed -> key of the run.

    Raises:
        ValueError: a name that is no name of a folder; results may come from elsewhere, and reports are named after it.
    """

    name: str
    table: Table
    task: str
    base: Mapping[str, Any]
    data: str
    about: str
    command: str
    keys: Mapping[str, Mapping[int, str]]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ValueError(
                f"name={self.name!r} may have letters, digits, - . and _ only, such as block-video-1f2e3d4c"
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed of any variant, in order."""
        return tuple(sorted({seed for keys in self.keys.values() for seed in keys}))

    def runs(self) -> Iterator[tuple[str, int, str]]:
        """Variant, seed and key of every run, seed by seed."""
        for seed in self.seeds:
            for variant, keys in self.keys.items():
                if seed in keys:
                    yield variant, seed, keys[seed]

    def joined(self, other: Study) -> Study:
        """This study with the seeds and variants of ``other`` as well, whose runs take the place of older ones."""
        names = [variant.name for variant in other.table.variants]
        keys = {name: {**self.keys.get(name, {}), **other.keys.get(name, {})} for name in names}
        return dataclasses.replace(other, keys={name: runs for name, runs in keys.items() if runs})

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Study:
        """The inverse of :meth:`to_dict`, also after a round trip through JSON."""
        table = values["table"]
        variants = tuple(
            Variant(each["name"], each["label"], {name: _tuples(value) for name, value in each["changes"].items()})
            for each in table["variants"]
        )
        keys = {variant: {int(seed): key for seed, key in runs.items()} for variant, runs in values["keys"].items()}
        return cls(**{**values, "table": Table(**{**table, "variants": variants}), "keys": keys})


def _tuples(value: Any) -> Any:
    """Lists, which JSON makes of tuples, as tuples again."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
