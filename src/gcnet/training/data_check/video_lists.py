"""Videos in lists."""

from __future__ import annotations

from pathlib import Path

from gcnet.training.data_check.class_folders import check_files
from gcnet.training.data_check.reading import read_video
from gcnet.training.data_check.report import Report
from gcnet.training.data_files import files_below
from gcnet.training.video.video_folder import SUFFIXES, read_list


def check_video_lists(report: Report, workers: int) -> None:
    """Check the videos of ``train.txt`` and ``val.txt``; in each list up to the first line that cannot be used."""
    splits = {}
    for split, path in find_lists(report.root).items():
        try:
            splits[split] = read_list(path, report.root)
        except (FileNotFoundError, ValueError) as error:
            report.error("unusable list", path, str(error).removeprefix(f"{path}, "))
    for name in sorted(splits.get("val", {}).keys() - splits.get("train", {}).keys()) if len(splits) == 2 else ():
        report.error("class missing in a split", "train", f"has no class {name!r}, which val has")
    check_files(report, "video", splits, files_below(report.root, SUFFIXES), read_video, workers)


def find_lists(root: Path) -> dict[str, Path]:
    """Lists of videos by split; none if there is no list to train on."""
    every = {split: [root / f"{split}.txt", root / f"{split}.csv"] for split in ("train", "val")}
    found = {split: path for split, paths in every.items() if (path := next(filter(Path.is_file, paths), None))}
    return found if "train" in found else {}
