"""Average precision and recall of boxes and masks, as COCO defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval.core import mask as rle
from numpy.typing import NDArray

from gcnet.training.detection.coco import CocoAnnotations
from gcnet.training.detection.detections import Detections, coco_results

_AREAS = ("all", "small", "medium", "large")
_UNDEFINED = -1  # what COCO's code writes where there is no object


@dataclass(frozen=True)
class CocoScores:
    """Scores between 0 and 1.

    Attributes:
        overall: ap (mean over IoU 0.50 to 0.95), ap50, ap75, ap_small, ap_medium, ap_large (objects below 32^2, up to
            96^2 and above), ar_1, ar_10 ... (recall with so many detections per image), ar_small, ar_medium, ar_large;
            without those of which there is no object.
        per_class: AP of each class; None for a class without objects.
    """

    overall: dict[str, float]
    per_class: dict[str, float | None]


def coco_scores(
    coco: CocoAnnotations, found: Mapping[int, Detections], kind: str, max_detections: int = 100
) -> CocoScores:
    """Compare detections with annotations, by faster-coco-eval.

    Args:
        coco: the annotations.
        found: number of an image among those of ``coco`` -> what was found there; other images do not count.
        kind: ``"box"`` or ``"mask"``.
        max_detections: the surest per image and class that count; COCO's own is 100.

    Raises:
        ValueError: no object in these images, crowds aside.

    Example:
        >>> import json
        >>> from gcnet.training.detection.coco import read_coco
        >>> from gcnet.training.detection.detections import ground_truth
        >>> path = getfixture("tmp_path") / "instances.json"
        >>> _ = path.write_text(json.dumps({
        ...     "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        ...     "categories": [{"id": 18, "name": "dog"}, {"id": 20, "name": "cat"}],
        ...     "annotations": [{"image_id": 7, "category_id": 18, "bbox": [5, 5, 10, 10]}],
        ... }))
        >>> coco = read_coco(path, path.parent, masks=False)
        >>> scores = coco_scores(coco, {0: ground_truth(coco, 0)}, "box")
        >>> scores.overall["ap"], scores.per_class
        (1.0, {'dog': 1.0, 'cat': None})
    """
    if not any(coco.objects(index) for index in found):
        raise ValueError(f"{coco.path}: none of the {len(found)} images that were scored has an object")
    evaluation = COCOeval_faster(
        _coco_api(coco, found, _truth(coco, found, kind)),
        _coco_api(coco, found, _predictions(coco, found, kind)),
        "bbox" if kind == "box" else "segm",
        print_function=_ignore,
    )
    limits = [*(limit for limit in (1, 10) if limit < max_detections), max_detections]
    evaluation.params.maxDets = limits
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = (np.asarray(evaluation.eval[name]) for name in ("precision", "recall"))

    overall = {
        "ap": _mean(precision[:, :, :, 0, -1]),
        "ap50": _mean(precision[0, :, :, 0, -1]),
        "ap75": _mean(precision[5, :, :, 0, -1]),
        **{f"ap_{area}": _mean(precision[:, :, :, place, -1]) for place, area in enumerate(_AREAS) if place},
        **{f"ar_{limit}": _mean(recall[:, :, 0, place]) for place, limit in enumerate(limits)},
        **{f"ar_{area}": _mean(recall[:, :, place, -1]) for place, area in enumerate(_AREAS) if place},
    }
    classes = {name: _mean(precision[:, :, at, 0, -1]) for at, name in enumerate(coco.categories.values())}
    return CocoScores({name: value for name, value in overall.items() if value is not None}, classes)


def _mean(values: NDArray[np.float64]) -> float | None:
    defined = values[values != _UNDEFINED]
    return float(defined.mean()) if defined.size else None


def _coco_api(coco: CocoAnnotations, found: Mapping[int, Detections], annotations: list[dict[str, Any]]) -> COCO:
    """Annotations of these images with ids from 1: the library takes an id of 0 for no match."""
    images = [coco.images[index] for index in sorted(found)]
    return COCO(
        {
            "images": [{"id": image.id, "width": image.width, "height": image.height} for image in images],
            "categories": [{"id": number, "name": name} for number, name in coco.categories.items()],
            "annotations": [{**entry, "id": number} for number, entry in enumerate(annotations, 1)],
        },
        print_function=_ignore,
    )


def _truth(coco: CocoAnnotations, found: Mapping[int, Detections], kind: str) -> list[dict[str, Any]]:
    categories = list(coco.categories)
    truth: list[dict[str, Any]] = []
    for index in sorted(found):
        image = coco.images[index]
        for number in coco.of(index):
            entry = {
                "image_id": image.id,
                "category_id": categories[coco.labels[number] - 1],
                "bbox": coco.boxes[number].tolist(),
                "area": float(coco.areas[number]),
                "iscrowd": int(coco.crowd[number]),
            }
            if kind == "mask" and coco.masks is not None:
                entry["segmentation"] = {"size": [image.height, image.width], "counts": coco.masks[number]}
            truth.append(entry)
    return truth


def _predictions(coco: CocoAnnotations, found: Mapping[int, Detections], kind: str) -> list[dict[str, Any]]:
    """Results with their areas: of the mask where masks are scored, so that small, medium and large mean the same."""
    predictions: list[dict[str, Any]] = []
    for result in all_results(coco, found):
        area = result["bbox"][2] * result["bbox"][3]
        if kind == "mask":
            area = float(rle.area(result["segmentation"]))
        predictions.append({**result, "area": area, "iscrowd": 0})
    return predictions


def all_results(coco: CocoAnnotations, found: Mapping[int, Detections]) -> list[dict[str, Any]]:
    """Detections of all images in COCO's format of results, with the ids of ``coco``."""
    categories = list(coco.categories)
    return [
        result
        for index in sorted(found)
        for image in [coco.images[index]]
        for result in coco_results(found[index], categories, (image.height, image.width), image_id=image.id)
    ]


def _ignore(*_: Any) -> None:
    pass
