"""Videos with their labels: in one folder per class, or in lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gcnet.training.class_folders import Labelled, find_labelled, labelled, split_classes
from gcnet.training.data_files import refuse
from gcnet.training.loading import BrokenSample
from gcnet.training.video.config import VideoConfig
from gcnet.training.video.decoding import scan

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts"),
    *(".3gp", ".ogv", ".vob", ".gif"),
)
_LINE = re.compile(rf"(.+(?:{'|'.join(map(re.escape, SUFFIXES))}))[\s,;]+(.*\S)", re.IGNORECASE)


def find_videos(config: VideoConfig) -> Labelled:
    """Find the videos of a configuration.

    They stand in the lists it names; or in ``train.txt`` and ``val.txt`` (or .csv) in its folder; or in ``train/`` and
    ``val/`` of class folders, or class folders alone. Without a list or a folder for validation, a share of each class
    validates.

    Raises:
        FileNotFoundError: a folder, a list or a file of a list is missing, or a class folder is empty.
        ValueError: a line that cannot be read, a validation label that training lacks, one class only, a class too
            small to split.

    Example:
        >>> from dataclasses import replace
        >>> root = getfixture("tmp_path")
        >>> for name in ("wave.mp4", "clap.mp4"):
        ...     (root / name).touch()
        >>> _ = (root / "train.txt").write_text("wave.mp4 wave\\nclap.mp4 clap\\n")
        >>> _ = (root / "val.txt").write_text("clap.mp4 clap\\n")
        >>> config = VideoConfig(
        ...     data=root, backbone="slow_only_r18", block="none", epochs=1, batch_size=2, lr=0.1, weight_decay=0.0
        ... )
        >>> found = find_videos(config)
        >>> found.classes, len(found.train), len(found.val)
        (('clap', 'wave'), 2, 1)
    """
    root = config.data
    if not root.is_dir():
        raise FileNotFoundError(f"data={root}: no such folder")
    lists = [
        _list("train_list", config.train_list, root, "train"),
        _list("val_list", config.val_list, root, "val") if config.val_list or not config.train_list else None,
    ]
    if lists[0] is None:
        return find_labelled(root, SUFFIXES, "video", config.val_fraction)
    train = read_list(lists[0], root)
    if len(train) < 2:
        raise ValueError(f"{lists[0]}: names one class only ({', '.join(train)}); classification needs two or more")
    if lists[1] is None:
        return labelled(*split_classes(train, config.val_fraction, "video", str(lists[0])))
    val = read_list(lists[1], root)
    odd = [name for name in val if name not in train]
    if odd:
        raise ValueError(f"{lists[1]}: label {odd[0]!r} does not occur in {lists[0]}")
    return labelled(train, val)


def _list(field: str, given: Path | None, root: Path, name: str) -> Path | None:
    """The list of a field, or of the usual name in the folder; None if there is none."""
    if given is None:
        usual = [root / f"{name}{suffix}" for suffix in (".txt", ".csv")]
        return next((path for path in usual if path.is_file()), None)
    for path in (given, root / given):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{field}={given}: no such file, here or in {root}")


def read_list(path: Path, root: Path) -> dict[str, list[Path]]:
    """Videos by label, from lines such as ``clips/a.mp4 wave``, ``clips/a.mp4,wave`` or ``clips/a.mp4 3``.

    Args:
        path: of the list; labels are in the order of the alphabet, or of numbers if all of them are.
        root: folder that paths start from where they do not start from the list's own.

    Raises:
        FileNotFoundError: a video that is missing.
        ValueError: a line without a path of a video and a label, no line at all.
    """
    found: dict[str, list[Path]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        parts = _LINE.fullmatch(line.strip())
        if parts is None:
            raise ValueError(f"{path}, line {number}: {line.strip()[:80]!r} is no path of a video and a label")
        places = [folder / parts[1] for folder in (path.parent, root)]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise FileNotFoundError(f"{path}, line {number}: there is no {' and no '.join(map(str, places))}")
        found.setdefault(parts[2], []).append(place)
    if not found:
        raise ValueError(f"{path}: names no video")
    numbers = all(name.isdecimal() for name in found)
    return {name: found[name] for name in sorted(found, key=int if numbers else None)}


def check_videos(paths: Sequence[Path], *, skip: bool = False) -> list[str]:
    """Look for the frames of every file, without decoding any.

    Args:
        paths: of the files.
        skip: leave files that are no videos to be found, and counted, when they are loaded.

    Returns:
        One line for every video with a broken tail.

    Raises:
        ValueError: names the first file that is no video, and how many more there are.
    """

    def look(path: Path) -> BrokenSample | str:
        try:
            video = scan(path)
        except BrokenSample as error:
            return error
        return f"{path} with {len(video)} frames and {video.missing} missing" if video.missing else ""

    with ThreadPoolExecutor(8) as pool:
        remarks = list(pool.map(look, paths))
    if not skip:
        refuse([str(remark) for remark in remarks if isinstance(remark, BrokenSample)])
    return [remark for remark in remarks if isinstance(remark, str) and remark]
