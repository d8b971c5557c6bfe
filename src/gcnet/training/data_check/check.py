"""Find out what a folder holds, and check all of it."""

from __future__ import annotations

import os
from pathlib import Path

from gcnet.blocks.base import check_choice
from gcnet.training.config import TASKS
from gcnet.training.data_check.class_folders import check_class_folders
from gcnet.training.data_check.coco import check_coco, find_annotations
from gcnet.training.data_check.pairs import check_pairs, find_layout
from gcnet.training.data_check.reading import read_image, read_video
from gcnet.training.data_check.report import Report
from gcnet.training.data_check.shards import check_shards, find_shards
from gcnet.training.data_check.video_lists import check_video_lists, find_lists
from gcnet.training.data_files import files_below
from gcnet.training.images import SUFFIXES as IMAGES
from gcnet.training.video.video_folder import SUFFIXES as VIDEOS


def check_data(root: Path, task: str | None = None, workers: int | None = None) -> Report:
    """Read everything in a data set and list what is wrong with it.

    Args:
        root: folder with images or videos in a folder per class, videos in lists, images with annotations in COCO's
            format, images with masks, or shards.
        task: classification, detection, segmentation or video; None to go by what is there.
        workers: files read at the same time; None for as many as there are processors.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: an unknown task, or nothing of its kind in the folder.

    Example:
        >>> from gcnet.training.scenes.make import SceneSettings, make_scenes
        >>> folder = make_scenes("segmentation", getfixture("tmp_path") / "scenes", SceneSettings(train=4, val=2))
        >>> report = check_data(folder)
        >>> report.task, report.errors, report.counts["train images"]
        ('segmentation', [], 4)
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    if task is not None:
        check_choice("task", task, TASKS)
    task = task or recognise(root)
    workers = workers or os.cpu_count() or 1
    report = Report(root, task)
    if task == "detection":
        if not find_annotations(root):
            raise ValueError(f"{root}: holds no annotations/*.json and no */_annotations.coco.json")
        check_coco(report, workers)
    elif task == "segmentation":
        layout = find_layout(root)
        if layout is None:
            raise ValueError(f"{root}: holds no train/images with train/masks, nor another layout of images and masks")
        check_pairs(report, layout, workers)
    elif task == "classification" and find_shards(root):
        check_shards(report, workers)
    elif task == "classification":
        check_class_folders(report, "image", IMAGES, read_image, workers)
    elif find_lists(root):
        check_video_lists(report, workers)
    else:
        check_class_folders(report, "video", VIDEOS, read_video, workers)
    return report


def recognise(root: Path) -> str:
    """The task that the data in a folder is for.

    Raises:
        ValueError: there is nothing to be recognised by.
    """
    if find_shards(root):
        return "classification"
    if find_annotations(root):
        return "detection"
    if find_layout(root):
        return "segmentation"
    if find_lists(root):
        return "video"
    linked = [path for path in (*root.glob("*"), *root.glob("*/*")) if path.is_symlink() and path.is_dir()]
    videos, images = (
        sum(len(files_below(folder, suffixes)) for folder in (root, *linked)) for suffixes in (VIDEOS, IMAGES)
    )
    if videos or images:
        return "video" if videos > images else "classification"
    raise ValueError(
        f"{root}: holds no images, videos or shards; expected one folder per class, COCO's annotations/*.json, "
        "images/ and masks/, train*.tar, or videos listed in train.txt"
    )
