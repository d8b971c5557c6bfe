"""Images or videos in one folder per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gcnet.training.data_check.reading import (
    File,
    read_all,
    report_shared,
    report_unreadable,
    report_unused,
)
from gcnet.training.data_check.report import Report
from gcnet.training.data_files import files_below

SPLITS = ("train", "val", "test")


def check_class_folders(
    report: Report, kind: str, suffixes: Sequence[str], read: Callable[[Path], File], workers: int
) -> None:
    """Check ``train/``, ``val/`` and ``test/`` of class folders, or class folders alone.

    Args:
        report: to add to.
        kind: what a file is called, such as "image".
        suffixes: of the files.
        read: decodes a file.
        workers: files read at the same time.
    """
    root = report.root
    folders = (
        {name: root / name for name in SPLITS if (root / name).is_dir()} if (root / "train").is_dir() else {"": root}
    )
    splits = {split: _classes(folder, suffixes) for split, folder in folders.items()}
    if len(folders) == 1 and "train" in folders:
        report.error("missing split", root, "has train/, but neither val/ nor test/")
    _check_classes(report, kind, folders, splits)
    check_files(report, kind, splits, files_below(root, suffixes), read, workers)


def check_files(
    report: Report,
    kind: str,
    splits: dict[str, dict[str, list[Path]]],
    paths: Sequence[Path],
    read: Callable[[Path], File],
    workers: int,
) -> None:
    """Read all files; list those that cannot be read, that are there twice, or that nobody uses.

    Args:
        report: to add to.
        kind: what a file is called.
        splits: files by class by split.
        paths: files that may be used or not.
        read: decodes a file.
        workers: files read at the same time.
    """
    used = {split: [path for paths in classes.values() for path in paths] for split, classes in splits.items()}
    every = sorted({*paths, *(path for members in used.values() for path in members)})
    files = {file.path: file for file in read_all(read, every, workers, kind)}
    report_unreadable(report, files.values(), kind)
    report_shared(report, {split: [(path, files[path].digest) for path in paths] for split, paths in used.items()})
    _check_labels(report, splits, files)
    report_unused(report, (path for paths in used.values() for path in paths))
    for split, members in used.items():
        report.counts[f"{split} {kind}s".strip()] = len(members)
    report.counts["classes"] = len(set().union(*splits.values()))


def _classes(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Files by class."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: files_below(path, suffixes) for path in folders}


def _check_classes(
    report: Report, kind: str, folders: dict[str, Path], splits: dict[str, dict[str, list[Path]]]
) -> None:
    lists = ", or to be listed with their class in train.txt" if kind == "video" else ""
    every = sorted(set().union(*splits.values()))
    for split, classes in splits.items():
        folder = folders[split]
        if not classes:
            report.error("no class folder", folder, f"{kind}s have to lie in one folder per class{lists}")
        elif len(classes) == 1:
            report.error(
                "one class only", folder, f"holds {next(iter(classes))!r} alone; two or more can be told apart"
            )
        for name, files in classes.items():
            if not files:
                report.error("empty class", folder / name, f"holds no {kind}")
            elif split == "" and len(files) == 1:
                report.error(
                    "too small class", folder / name, f"one {kind} cannot be split into training and validation"
                )
        for name in every if classes else ():
            if name not in classes:
                owner = next(other for other in splits if name in splits[other])
                report.error("class missing in a split", folder, f"has no class {name!r}, which {owner} has")


def _check_labels(report: Report, splits: dict[str, dict[str, list[Path]]], files: dict[Path, File]) -> None:
    """The same bytes in two classes of a split."""
    for classes in splits.values():
        first: dict[str, tuple[str, Path]] = {}
        for name, paths in classes.items():
            for path in paths:
                digest = files[path].digest
                seen = first.setdefault(digest, (name, path)) if digest else (name, path)
                if seen[0] != name:
                    report.warning("same file in two classes", path, f"has the bytes of {report.short(seen[1])}")
