"""Samples in WebDataset shards: tar archives whose members of one name and several extensions form a sample.

Reading the archives, grouping their members and opening URLs is the webdataset library's. Order, splitting over
processes and going on after an interruption are not: its shuffling and splitting keep state that cannot be saved with a
checkpoint, and give processes different numbers of batches.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from webdataset.gopen import gopen
from webdataset.tariterators import group_by_keys, tar_file_expander

from gcnet.training.images import SUFFIXES
from gcnet.training.loading import BrokenSample

RawSample = Mapping[str, Any]


def read_shard(shard: str) -> Iterator[RawSample]:
    """Samples of a shard in their order, as bytes by extension; ``__key__`` is their name.

    Args:
        shard: path or URL.

    Raises:
        BrokenSample: it cannot be read.

    Example:
        >>> import io, tarfile
        >>> path = getfixture("tmp_path") / "train-0.tar"
        >>> with tarfile.open(path, "w") as tar:
        ...     for name in ("a.txt", "a.cls", "b.txt"):
        ...         tar.addfile(tarfile.TarInfo(name))
        >>> [(sample["__key__"], len(sample)) for sample in read_shard(str(path))]
        [('a', 4), ('b', 3)]
    """
    try:
        with gopen(shard) as stream:  # leaving it asks how a download ended: a cut one may look like a whole archive
            yield from group_by_keys(tar_file_expander([{"url": shard, "stream": stream}]))
    except (OSError, ValueError, tarfile.TarError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error.args[0])
        status = re.search(r"exit (\d+) \(read\)", reason)
        reason = f"the download ended with status {status[1]} of curl" if status else reason
        raise BrokenSample(f"{shard}: cannot be read as a shard ({reason})") from error


def image_bytes(sample: RawSample, column: str | None) -> bytes:
    """The encoded image of a sample.

    Args:
        sample: of :func:`read_shard`.
        column: its extension; None for the only one that is of an image.

    Raises:
        BrokenSample: there is no such member, or there are several.
    """
    names = [name for name in sample if f".{name.rpartition('.')[2]}" in SUFFIXES] if column is None else [column]
    if len(names) > 1:
        raise BrokenSample(f"{describe(sample)}: holds several images ({', '.join(names)}); name one by image_column")
    if not names or names[0] not in sample:
        members = ", ".join(name for name in sample if not name.startswith("__"))
        raise BrokenSample(f"{describe(sample)}: holds no {column or 'image'}, only {members}")
    return sample[names[0]]


def label_text(sample: RawSample, column: str | None) -> str:
    """The label of a sample: a name, or a number.

    Args:
        sample: of :func:`read_shard`.
        column: extension of a text member, or key in the member ``json``; None for ``cls``, the key ``label``, or else
            the folder of the sample's name.

    Raises:
        BrokenSample: there is none.

    Example:
        >>> label_text({"__key__": "000", "cls": b"3"}, None), label_text({"__key__": "daisy/000"}, None)
        ('3', 'daisy')
        >>> label_text({"__key__": "000", "json": b'{"flower": "daisy"}'}, "flower")
        'daisy'
    """
    text = sample.get(column or "cls")
    if text is None and "json" in sample:
        try:
            text = json.loads(sample["json"]).get(column or "label")
        except (ValueError, AttributeError) as error:
            raise BrokenSample(f"{describe(sample)}: its json cannot be read ({error})") from error
    if text is None and column is None:
        text = PurePosixPath(sample["__key__"]).parent.name
    text = text.decode(errors="replace").strip() if isinstance(text, bytes) else "" if text is None else str(text)
    if not text:
        wanted = column or "cls, label in json, or folder"
        raise BrokenSample(f"{describe(sample)}: has no label ({wanted}); name its member or key by label_column")
    return text


def describe(sample: RawSample) -> str:
    """Shard and name of a sample."""
    return f"{sample['__url__']}: {sample['__key__']}"
