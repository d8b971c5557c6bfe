"""Images with boxes and masks in COCO's format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from gcnet.training.data_check.annotations import annotation_findings
from gcnet.training.data_check.reading import (
    File,
    read_all,
    read_image,
    report_shared,
    report_unreadable,
    report_unused,
)
from gcnet.training.data_check.report import Report

BESIDE = "_annotations.coco.json"  # lies beside the images
LISTS = ("images", "annotations", "categories")
NUMBER = int | float
KINDS = {int: "whole number", NUMBER: "number", str: "text"}
IMAGE = {"id": int, "file_name": str, "width": int, "height": int}
CATEGORY = {"id": int, "name": object}
ANNOTATION = {"image_id": NUMBER, "category_id": NUMBER}


def find_annotations(root: Path) -> list[Path]:
    """Files of annotations: annotations/instances_*.json, or else all in annotations/, or */_annotations.coco.json."""
    for pattern in ("annotations/instances_*.json", "annotations/*.json", f"*/{BESIDE}"):
        found = sorted(root.glob(pattern))
        if found:
            return found
    return []


def check_coco(report: Report, workers: int) -> None:
    """Check annotations and images, one file of annotations after the other, then what they have in common."""
    paths = find_annotations(report.root)
    used = list(paths)
    files: dict[str, list[File]] = {}
    categories: dict[str, dict[Any, str]] = {}
    seen: dict[str, Counter[Any]] = {}
    for path in paths:
        content = _load(report, path)
        if content is None:
            continue
        for part in ("images", "categories"):
            if not content[part]:
                report.error("annotations", path, f"lists no {part}")
        name = path.parent.name if path.name == BESIDE else path.stem
        images = _check_images(report, path, content["images"])
        folder = _find_folder(report.root, path, [image["file_name"] for image in images.values()])
        files[name] = _read_images(report, folder, list(images.values()), workers)
        categories[name] = _check_categories(report, path, content["categories"])
        seen[name] = _check_annotations(report, path, content["annotations"], images, categories[name])
        used += [file.path for file in files[name]]
        with_objects = {entry["image_id"] for entry in content["annotations"] if not _unusable(entry, ANNOTATION)}
        report.counts |= {
            f"images in {name}": len(images),
            f"objects in {name}": len(content["annotations"]),
            f"images without objects in {name}": len(images.keys() - with_objects),
        }
    _compare(report, categories, seen)
    shared = {key: [(file.path, file.digest) for file in found] for key, found in files.items()}
    report_shared(report, shared)
    report_unused(report, used)


def _load(report: Report, path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        report.error("annotations", path, f"is not JSON ({error})")
        return None
    for name in LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            report.error("annotations", path, f"has no list {name!r}; COCO's format has {', '.join(LISTS)}")
            return None
        if not all(isinstance(entry, dict) for entry in content[name]):
            report.error("annotations", path, f"{name} holds something else than objects")
            return None
    return content


def _check_images(report: Report, path: Path, entries: Sequence[Mapping[str, Any]]) -> dict[Any, Mapping[str, Any]]:
    """Images by id; those that lack something are left out."""
    images: dict[Any, Mapping[str, Any]] = {}
    for number, entry in enumerate(entries):
        problem = _unusable(entry, IMAGE)
        if problem:
            report.error("annotations", path, f"images[{number}] {problem}")
        else:
            images.setdefault(entry["id"], entry)
    _check_unique(report, path, "image id", [entry["id"] for entry in entries if "id" in entry])
    _check_unique(report, path, "file name", [entry["file_name"] for entry in entries if "file_name" in entry])
    return images


def _find_folder(root: Path, path: Path, names: Sequence[str]) -> Path:
    """The folder that holds some of the first images; one named after the split comes first."""
    split = next((word for word in ("train", "val", "test") if word in path.stem), "")
    named = sorted(folder for folder in (*root.glob(f"{split}*"), *root.glob(f"images/{split}*")) if folder.is_dir())
    places = [path.parent, *named, root / "images", root]
    return next(
        (place for place in places if any((place / name).is_file() for name in names[:20])), (named or places)[0]
    )


def _read_images(report: Report, folder: Path, images: Sequence[Mapping[str, Any]], workers: int) -> list[File]:
    files = read_all(read_image, [folder / image["file_name"] for image in images], workers, "image")
    report_unreadable(report, files, "image")
    for file, image in zip(files, images, strict=True):
        declared = (image["width"], image["height"])
        if file.size and file.size != declared:
            report.error("size of image", file.path, f"is {file.size} (width, height), declared as {declared}")
    return files


def _check_categories(report: Report, path: Path, entries: Sequence[Mapping[str, Any]]) -> dict[Any, str]:
    """Names by id."""
    for number, entry in enumerate(entries):
        problem = _unusable(entry, CATEGORY)
        if problem:
            report.error("annotations", path, f"categories[{number}] {problem}")
    whole = [entry for entry in entries if not _unusable(entry, CATEGORY)]
    _check_unique(report, path, "category id", [entry["id"] for entry in whole])
    _check_unique(report, path, "category name", [entry["name"] for entry in whole])
    return {entry["id"]: str(entry["name"]) for entry in whole}


def _check_annotations(
    report: Report,
    path: Path,
    entries: Sequence[Mapping[str, Any]],
    images: Mapping[Any, Mapping[str, Any]],
    categories: Mapping[Any, str],
) -> Counter[Any]:
    """How many annotations each category has."""
    _check_unique(report, path, "annotation id", [entry["id"] for entry in entries if "id" in entry])
    used: Counter[Any] = Counter()
    for number, entry in enumerate(tqdm(entries, desc="Checking", unit="annotation", delay=1)):
        place = f"{report.short(path)}, annotation {entry.get('id', f'[{number}]')}"
        problem = _unusable(entry, ANNOTATION)
        if problem:
            report.error("annotations", place, problem)
            continue
        used[entry["category_id"]] += 1
        if entry["category_id"] not in categories:
            report.error("undefined category", place, f"category_id {entry['category_id']} is none of the categories")
        image = images.get(entry["image_id"])
        if image is None:
            report.error("undefined image", place, f"image_id {entry['image_id']} is none of the images")
            continue
        for finding in annotation_findings(entry, image["width"], image["height"]):
            add = report.error if finding.error else report.warning
            add(finding.kind, f"{place} of {image['file_name']}", finding.message)
    return used


def _unusable(entry: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    """Which of the fields an entry lacks, or has with something else than what belongs there."""
    missing = [name for name in fields if name not in entry]
    if missing:
        return f"has no {', '.join(missing)}"
    for name, kind in fields.items():
        if not isinstance(entry[name], kind):
            return f"has {name} {entry[name]!r}, which is no {KINDS[kind]}"
    return None


def _compare(report: Report, categories: Mapping[str, Mapping[Any, str]], seen: Mapping[str, Counter[Any]]) -> None:
    """Categories that differ between files, or that no annotation has."""
    if not categories:
        return
    first = next(iter(categories))
    for name, own in categories.items():
        for number, category in sorted(own.items() ^ categories[first].items(), key=str):
            report.error("categories differ", name, f"{category!r} with id {number} is not in both this and {first}")
        for number, category in own.items():
            if not seen[name][number]:
                report.warning("unused category", name, f"no annotation is of {category!r} (id {number})")
    report.counts["categories"] = len(set().union(*categories.values()))


def _check_unique(report: Report, path: Path, what: str, values: Sequence[Any]) -> None:
    for value, count in Counter(map(str, values)).items():
        if count > 1:
            report.error(f"duplicate {what}", path, f"{value} is there {count} times")
