"""A table on one task and data set as runs with an identity: which of them exist, and which are to be trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gcnet.ablation.bases import Base
from gcnet.ablation.identity import data_fingerprint, plain_values, run_key, source_hash
from gcnet.ablation.job import Job
from gcnet.ablation.row import Row
from gcnet.ablation.study import Study
from gcnet.ablation.table import Table
from gcnet.ablation.worker import finished_row
from gcnet.blocks.base import check_choice
from gcnet.training.config import TrainingConfig

#: Fields that belong to the whole table.
SHARED = ("data", "seed", "out")


@dataclass(frozen=True)
class Plan:
    """A study and its runs.

    Attributes:
        study: what is compared.
        jobs: its runs, seed by seed.
    """

    study: Study
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Standing:
    """What there is of the runs of a plan.

    Attributes:
        stored: rows of the store, by key.
        found: rows of finished folders that the store does not have.
        interrupted: runs that began and go on.
        new: runs that did not begin.
    """

    stored: Mapping[str, Row]
    found: Mapping[str, Row]
    interrupted: tuple[Job, ...]
    new: tuple[Job, ...]

    @property
    def rows(self) -> dict[str, Row]:
        """Of all finished runs."""
        return {**self.stored, **self.found}

    @property
    def to_run(self) -> tuple[Job, ...]:
        """Those that go on, then the new ones."""
        return (*self.interrupted, *self.new)


def resolve(table: Table, config: TrainingConfig, chosen: Sequence[str] = ()) -> dict[str, TrainingConfig]:
    """The configuration of every variant that is chosen, in the order of the table.

    Args:
        table: to run.
        config: what all variants share, with its number of threads.
        chosen: names of variants; none for all. The baseline always runs.

    Raises:
        ValueError: naming the variant that is unknown, wrong, or the same as another.

    Example:
        >>> from gcnet.ablation.bases import base_of
        >>> from gcnet.ablation.standard import BLOCK
        >>> list(resolve(BLOCK, base_of("classification").config, ["gc"]))
        ['none', 'gc']
    """
    names = [variant.name for variant in table.variants]
    for name in chosen:
        check_choice("variants", name, names)
    for variant in table.variants:
        for field in SHARED:
            if field in variant.changes:
                raise ValueError(f"variant {variant.name!r}: {field} is the same for all variants; leave it out")
    configs = table.configs(config)
    same: dict[str, str] = {}
    for name, each in configs.items():
        other = same.setdefault(run_key(each, sources="", data=""), name)
        if other != name:
            raise ValueError(f"variants {other!r} and {name!r} of table {table.name!r} are the same configuration")
    return {name: each for name, each in configs.items() if not chosen or name in chosen or name == table.baseline}


def make_plan(
    table: Table,
    base: Base,
    *,
    seeds: Iterable[int],
    out: Path,
    chosen: Sequence[str] = (),
    about: str = "",
    command: str = "",
) -> Plan:
    """Name every run by its identity; nothing is written.

    Args:
        table: to run.
        base: what all variants share, with its number of threads, and its data, which has to be there.
        seeds: of every variant.
        out: folder of the runs.
        chosen: variants to run; none for all.
        about: data and network in a line.
        command: that runs it again.

    Raises:
        ValueError: as :func:`resolve`; a block that cannot be imported.
        FileNotFoundError: no data.
    """
    config = replace(base.config, data=base.config.data.absolute())
    data = data_fingerprint(config.data)
    keys: dict[str, dict[int, str]] = {}
    jobs: dict[tuple[int, str], Job] = {}
    for name, each in resolve(table, config, chosen).items():
        sources = _sources(name, each)
        for seed in sorted(set(seeds)):
            seeded = replace(each, seed=seed)
            key = run_key(seeded, sources=sources, data=data)
            keys.setdefault(name, {})[seed] = key
            label = f"{table.name}, {name}, seed {seed}"
            jobs[seed, name] = Job(key, label, seeded, (out / key).absolute(), base.scenes, sources, data)
    plain = plain_values(config)
    del plain["seed"]
    name = f"{table.name}-{config.task}-{_shared(table, config, data)}"
    study = Study(name, table, config.task, plain, data, about, command, keys)
    return Plan(study, tuple(jobs[seed, variant] for variant, seed, _ in study.runs()))


def standing(plan: Plan, stored: Mapping[str, Row]) -> Standing:
    """Look for every run of a plan among the rows of the store, and in its folder.

    Args:
        plan: of the runs.
        stored: rows by key, as the store has them.

    Raises:
        ValueError: a folder whose row is damaged, or that of another run.
    """
    rows = {job.key: stored[job.key] for job in plan.jobs if job.key in stored}
    left = [job for job in plan.jobs if job.key not in rows]
    found = {job.key: row for job in left if (row := finished_row(job)) is not None}
    left = [job for job in left if job.key not in found]
    begun = [job for job in left if (job.folder / "config.json").is_file()]
    return Standing(rows, found, tuple(begun), tuple(job for job in left if job not in begun))


def _sources(name: str, config: TrainingConfig) -> str:
    try:
        return source_hash(config)
    except ValueError as error:
        raise ValueError(f"variant {name!r}: {error}") from error


def _shared(table: Table, config: TrainingConfig, data: str) -> str:
    """Hash of what all runs of a study share: configuration, data, code, and what the variants are."""
    configs = resolve(table, config)
    parts = {
        name: run_key(replace(each, seed=0), sources=_sources(name, each), data=data) for name, each in configs.items()
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
