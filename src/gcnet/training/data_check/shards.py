"""Images in WebDataset shards."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gcnet.training.classification.shard_samples import image_bytes, label_text, read_shard
from gcnet.training.data_check.reading import read_all, report_shared
from gcnet.training.data_check.report import Report
from gcnet.training.loading import BrokenSample


class Sample(NamedTuple):
    """A sample of a shard: its place, the digest of its image, its label, and what is wrong with it."""

    place: str
    digest: str
    label: str | None
    problem: str | None


def find_shards(root: Path) -> dict[str, list[Path]]:
    """Shards of train, and of val or else test, in the folder or in folders of these names."""
    splits = {
        name: sorted([*root.glob(f"{name}*.tar"), *root.glob(f"{name}/*.tar")]) for name in ("train", "val", "test")
    }
    return {name: shards for name, shards in splits.items() if shards}


def check_shards(report: Report, workers: int) -> None:
    """Check every sample of every shard: image readable, label there, key used once; classes alike in all splits."""
    splits = find_shards(report.root)
    if len(splits) == 1:
        report.error("missing split", report.root, f"has {next(iter(splits))} shards only")
    labels: dict[str, set[str]] = {}
    images: dict[str, list[tuple[Path | str, str]]] = {}
    sizes = _sizes(report)
    for split, shards in splits.items():
        labels[split], images[split] = set(), []
        keys: Counter[str] = Counter()
        for shard, (samples, problem) in zip(shards, read_all(_read, shards, workers, "shard"), strict=True):
            if problem:
                report.error("unreadable shard", shard, problem)
            elif not samples:
                report.error("empty shard", shard, "holds no sample")
            name = report.short(shard)
            if sizes.get(name, len(samples)) != len(samples):
                report.error("sizes.json", name, f"holds {len(samples)} samples, not {sizes[name]}; remove sizes.json")
            for sample in samples:
                if sample.problem:
                    report.error("unreadable sample", sample.place, sample.problem)
            keys.update(sample.place.partition(": ")[2] for sample in samples)
            labels[split] |= {sample.label for sample in samples if sample.label is not None}
            images[split] += [(sample.place, sample.digest) for sample in samples]
        for key, count in keys.items():
            if count > 1:
                report.warning("key used twice", f"{split} shards", f"{count} samples have the key {key}")
        report.counts |= {f"{split} shards": len(shards), f"{split} images": len(images[split])}
    for split, found in labels.items():
        for label in sorted(set().union(*labels.values()) - found):
            report.error("class missing in a split", f"{split} shards", f"have no sample of class {label!r}")
    report_shared(report, images)
    report.counts["classes"] = len(set().union(*labels.values()))


def _read(shard: Path) -> tuple[list[Sample], str | None]:
    """The samples of a shard, up to where it cannot be read any more, and why not."""
    samples = []
    try:
        for sample in read_shard(str(shard)):
            place = f"{shard.name}: {sample['__key__']}"
            digest, label, problem = "", None, None
            try:
                label = label_text(sample, None)
                content = image_bytes(sample, None)
                digest = hashlib.sha256(content).hexdigest()
                with Image.open(io.BytesIO(content)) as picture:
                    picture.load()
            except (BrokenSample, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                problem = str(error)
            samples.append(Sample(place, digest, label, problem))
    except BrokenSample as error:
        return samples, str(error)
    return samples, None


def _sizes(report: Report) -> dict[str, int]:
    path = report.root / "sizes.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        report.error("sizes.json", path, f"cannot be read ({error})")
        return {}
