"""WebDataset shards: where they are, how much they hold, and their loaders."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from braceexpand import braceexpand
from tqdm import tqdm  # type: ignore[import-untyped]

from gcnet.files import whole_file
from gcnet.training.classification.config import ClassificationConfig
from gcnet.training.classification.image_source import ImageSource, Transform
from gcnet.training.classification.shard_loading import ShardBatches, shard_loader
from gcnet.training.classification.shard_order import ShardPlan
from gcnet.training.classification.shard_samples import RawSample, describe, image_bytes, label_text, read_shard
from gcnet.training.images import header_problem
from gcnet.training.loading import ALONE, BrokenSample, Loader, Place, too_few_samples

SIZES, CLASSES = "sizes.json", "classes.txt"


@dataclass(frozen=True)
class Shards(ImageSource):
    """Shards with the number of samples in each.

    Attributes:
        classes: names of the classes.
        train: training shards, paths or URLs, and how many samples they hold.
        val: validation shards, likewise.
    """

    classes: tuple[str, ...]
    train: dict[str, int]
    val: dict[str, int]

    @property
    def summary(self) -> str:
        """Counts of samples, shards and classes."""
        counts = f"{sum(self.train.values())} training and {sum(self.val.values())} validation images"
        return f"{counts} of {len(self.classes)} classes in {len(self.train)} and {len(self.val)} shards"

    def check(self) -> None:
        """Look whether the local shards are archives."""
        for shard in (*self.train, *self.val):
            if "://" not in shard and not tarfile.is_tarfile(shard):
                raise ValueError(f"{shard}: is no tar archive. Repair or remove it")

    def train_loader(self, transform: Transform, config: ClassificationConfig, place: Place = ALONE) -> Loader:
        """Shuffled batches of one process."""
        plan = self._plan(self.train, config, place)
        plan = replace(plan, seed=config.seed, buffer=max(1, config.shard_buffer // config.shard_lanes))
        if not plan.batches:
            raise too_few_samples(sum(plan.counts), config.batch_size, place)
        return shard_loader(ShardBatches(tuple(self.train), plan, self.classes, transform, config), config)

    def val_loader(self, transform: Transform, config: ClassificationConfig, place: Place = ALONE) -> Loader:
        """Every validation image once, over all processes."""
        plan = self._plan(self.val, config, place)
        return shard_loader(ShardBatches(tuple(self.val), plan, self.classes, transform, config), config)

    def _plan(self, shards: dict[str, int], config: ClassificationConfig, place: Place) -> ShardPlan:
        return ShardPlan(tuple(shards.values()), config.batch_size, place, config.shard_lanes)


def has_shards(config: ClassificationConfig) -> bool:
    """Whether the data is in shards: they are given, or lie in the folder."""
    return bool(config.train_shards or _in_folder(config.data, "train"))


def find_shards(config: ClassificationConfig) -> Shards:
    """Find shards, how many samples they hold, and their classes.

    The shards are ``config.train_shards`` and ``config.val_shards``, or ``train*.tar`` and ``val*.tar`` (or
    ``test*.tar``) in ``config.data`` or its folders ``train/`` and ``val/``. ``sizes.json`` there holds the number of
    samples by shard, ``classes.txt`` a class per line; where they are missing, all shards are read once and they are
    written.

    Raises:
        FileNotFoundError: no folder, no shard, or no validation shards.
        ValueError: a shard that cannot be read, classes that only the validation has, one class only.
    """
    if not config.data.is_dir():
        raise FileNotFoundError(f"data={config.data}: no such folder; with shards elsewhere, it holds {CLASSES}")
    found = {}
    for split, given in (("train", config.train_shards), ("val", config.val_shards)):
        shards = _expand(f"{split}_shards", given, config.data) if given else _in_folder(config.data, split)
        if not shards:
            raise FileNotFoundError(f"data={config.data}: has training shards but neither val*.tar nor test*.tar")
        found[split] = shards
    sizes, classes = _known(config.data)
    shards = [shard for split in found.values() for shard in split]
    names = {shard: _short(shard, config.data) for shard in shards}
    unknown = [shard for shard in shards if classes is None or names[shard] not in sizes]
    if unknown:
        labels = _count(unknown, sizes, names, config)
        if classes is None:
            classes = _class_names(*(set().union(*(labels[shard] for shard in found[split])) for split in found))
        _remember(config.data, sizes, classes)
    if classes is None or len(classes) < 2:
        found_only = ", ".join(classes or ())
        raise ValueError(f"data={config.data}: found one class only ({found_only!r}); classification needs two or more")
    return Shards(classes, *({shard: sizes[names[shard]] for shard in found[split]} for split in found))


def _expand(name: str, pattern: str, folder: Path) -> list[str]:
    """Paths, absolute or from the folder, and URLs of a brace pattern."""
    try:
        shards = list(braceexpand(pattern))
    except ValueError as error:
        raise ValueError(f"{name}={pattern!r}: {error}; expected such as train-{{000..099}}.tar") from error
    if any(shard.startswith("pipe:") for shard in shards):
        raise ValueError(f"{name}={pattern!r}: commands are not run; give paths or URLs, such as https://host/0.tar")
    shards = [shard if "://" in shard else str(folder / shard) for shard in shards]
    missing = [shard for shard in shards if "://" not in shard and not Path(shard).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{name}={pattern!r}: {missing[0]} does not exist{more}")
    return shards


def _in_folder(root: Path, split: str) -> list[str]:
    for name in {"train": ("train",), "val": ("val", "test")}[split]:
        found = sorted([*root.glob(f"{name}*.tar"), *root.glob(f"{name}/*.tar")])
        if found:
            return [str(path) for path in found]
    return []


def _short(shard: str, folder: Path) -> str:
    """The name of a shard in sizes.json: relative to the folder where it lies in it."""
    inside = "://" not in shard and Path(shard).is_relative_to(folder)
    return Path(shard).relative_to(folder).as_posix() if inside else shard


def _known(folder: Path) -> tuple[dict[str, int], tuple[str, ...] | None]:
    """What sizes.json and classes.txt say."""
    sizes, names = folder / SIZES, folder / CLASSES
    known = {}
    if sizes.is_file():
        try:
            known = {name: int(count) for name, count in json.loads(sizes.read_text()).items()}
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{sizes}: is no table of shards and numbers of samples ({error}); remove it") from error
    if not names.is_file():
        return known, None
    classes = tuple(line.strip() for line in names.read_text().splitlines() if line.strip())
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise ValueError(f"{names}: names the class {twice!r} twice")
    return known, classes


def _count(
    shards: Sequence[str], sizes: dict[str, int], names: dict[str, str], config: ClassificationConfig
) -> dict[str, set[str]]:
    """Read shards, enter their sizes, return their labels; look at headers of images if asked for."""

    def label(sample: RawSample) -> str | None:
        try:
            text = label_text(sample, config.label_column)
            broken = header_problem(image_bytes(sample, config.image_column), describe(sample))
            if broken and config.check_files:
                raise BrokenSample(f"{broken}. Repair or remove it")
            return text
        except BrokenSample:
            if config.on_broken == "error":
                raise
            return None

    def labels(shard: str) -> list[str | None]:
        return [label(sample) for sample in read_shard(shard)]

    seen = {}
    with ThreadPoolExecutor(8) as pool:
        for shard, found in zip(
            shards, tqdm(pool.map(labels, shards), "counting", len(shards), disable=None), strict=True
        ):
            if not found:
                raise ValueError(f"{shard}: holds no samples. Repair or remove it")
            sizes[names[shard]], seen[shard] = len(found), {label for label in found if label is not None}
    return seen


def _class_names(train: Iterable[str], val: Iterable[str]) -> tuple[str, ...]:
    """Classes by the labels that occur: names sorted, or every number up to the largest."""
    odd = sorted(set(val) - set(train))
    if odd:
        raise ValueError(f"class {odd[0]!r} of the validation shards is in no training shard")
    if all(label.isdecimal() for label in train):
        return tuple(str(number) for number in range(max(map(int, train)) + 1))
    return tuple(sorted(train))


def _remember(folder: Path, sizes: dict[str, int], classes: tuple[str, ...]) -> None:
    try:
        with whole_file(folder / SIZES) as partial:
            partial.write_text(json.dumps(sizes, indent=2) + "\n")
        with whole_file(folder / CLASSES) as partial:
            partial.write_text("\n".join(classes) + "\n")
    except OSError as error:
        print(f"{folder}: {SIZES} and {CLASSES} cannot be kept ({error.strerror}); the shards are counted every time")
