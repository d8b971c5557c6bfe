"""COCO's scores against values found by hand."""

import json

import numpy as np
import pytest

pytest.importorskip("lightning")

from gcnet.training.detection.coco import read_coco
from gcnet.training.detection.detections import Detections, ground_truth
from gcnet.training.detection.metrics import all_results, coco_scores
from tests.training.detection.shapes import make_coco


@pytest.fixture
def coco(tmp_path):
    root = make_coco(tmp_path, train=6)
    return read_coco(root / "annotations/instances_train.json", root / "train")


def truth(coco):
    return {index: ground_truth(coco, index) for index in range(len(coco.images))}


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_truth_scores_one(coco, kind):
    scores = coco_scores(coco, truth(coco), kind)
    names = ("ap", "ap50", "ap75", "ap_small", "ar_1", "ar_10", "ar_100", "ar_small")
    assert scores.overall == dict.fromkeys(names, 1.0)
    assert scores.per_class == {"square": 1.0, "disc": 1.0}


def only(boxes, scores, labels=None):
    labels = [1] * len(boxes) if labels is None else labels
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels), np.array(scores, np.float32), None)


def boxes_file(folder, boxes, crowd=()):
    annotations = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": box, "iscrowd": int(number in crowd)}
        for number, box in enumerate(boxes)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 2000, "height": 100}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": annotations,
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    return read_coco(path, folder, masks=False)


def test_half_found_with_a_false_alarm(tmp_path):
    coco = boxes_file(tmp_path, [[0, 0, 40, 40], [100, 0, 40, 40]])
    found = {0: only([[0, 0, 40, 40], [300, 0, 340, 40]], [0.9, 0.8])}
    overall = coco_scores(coco, found, "box").overall
    assert overall["ap"] == pytest.approx(51 / 101)  # precision 1 at the recalls 0, 0.01 ... 0.50, 0 beyond
    assert overall["ar_100"] == pytest.approx(0.5)
    assert overall["ap_medium"] == pytest.approx(51 / 101)
    assert "ap_small" not in overall


def test_a_false_alarm_that_is_surer_halves_precision(tmp_path):
    coco = boxes_file(tmp_path, [[0, 0, 40, 40]])
    found = {0: only([[300, 0, 340, 40], [0, 0, 40, 40]], [0.9, 0.8])}
    assert coco_scores(coco, found, "box").overall["ap"] == pytest.approx(0.5)


def test_an_overlap_counts_at_the_thresholds_below_it(tmp_path):
    coco = boxes_file(tmp_path, [[0, 0, 40, 40]])
    overall = coco_scores(coco, {0: only([[0, 0, 40, 27]], [0.9])}, "box").overall  # IoU 0.675
    assert (overall["ap50"], overall["ap75"]) == (1.0, 0.0)
    assert overall["ap"] == pytest.approx(0.4)  # 0.50, 0.55, 0.60 and 0.65 of ten thresholds


def test_what_is_found_in_a_crowd_is_not_wrong(tmp_path):
    boxes = [[0, 0, 40, 40], [500, 0, 400, 100]]
    found = {0: only([[510, 10, 550, 50], [600, 10, 640, 50], [0, 0, 40, 40]], [0.9, 0.8, 0.7])}
    assert coco_scores(boxes_file(tmp_path, boxes, crowd=(1,)), found, "box").overall["ap"] == 1.0
    assert coco_scores(boxes_file(tmp_path, boxes), found, "box").overall["ap"] < 0.4


@pytest.mark.parametrize(("limit", "recall"), [(100, 2 / 3), (150, 1.0), (5, 1 / 30)])
def test_crowded_images_need_more_detections(tmp_path, limit, recall):
    coco = boxes_file(tmp_path, [[12 * number, 0, 10, 10] for number in range(150)])
    overall = coco_scores(coco, truth(coco), "box", max_detections=limit).overall
    assert overall[f"ar_{limit}"] == pytest.approx(recall)
    assert overall["ap"] == pytest.approx((np.floor(recall * 100) + 1) / 101)


def test_nothing_found_scores_zero(coco):
    found = {index: only([], []) for index in range(len(coco.images))}
    assert set(coco_scores(coco, found, "box").overall.values()) == {0.0}


def test_a_class_without_objects_is_left_out_of_the_mean(coco):
    first = truth(coco)
    coco.labels[:] = 1
    scores = coco_scores(
        coco, {index: found._replace(labels=np.ones_like(found.labels)) for index, found in first.items()}, "box"
    )
    assert scores.per_class == {"square": 1.0, "disc": None}
    assert scores.overall["ap"] == 1.0


def test_images_that_were_not_scored_do_not_count(coco):
    found = truth(coco)
    del found[1]
    assert coco_scores(coco, found, "box").overall["ap"] == 1.0
    with pytest.raises(ValueError, match="none of the 1 images that were scored has an object"):
        coco_scores(coco, {5: found[5]}, "box")


def test_the_export_scores_the_same_in_the_plain_tool(coco, tmp_path):
    from faster_coco_eval import COCO, COCOeval_faster

    rng = np.random.default_rng(0)
    found = {
        index: each._replace(
            boxes=each.boxes + rng.normal(0, 0.7, each.boxes.shape).astype(np.float32),
            scores=rng.random(len(each.scores)).astype(np.float32),
        )
        for index, each in truth(coco).items()
    }
    content = json.loads(coco.path.read_text())
    for entry in content["annotations"]:
        entry["id"] += 1
    plain = COCO(content)
    evaluation = COCOeval_faster(plain, plain.loadRes(all_results(coco, found)), "bbox")
    evaluation.run()
    mine = coco_scores(coco, found, "box").overall
    assert 0.1 < mine["ap"] < 0.95
    assert [mine["ap"], mine["ap50"], mine["ap75"], mine["ap_small"]] == pytest.approx(evaluation.stats[:4])
    assert [mine["ar_1"], mine["ar_10"], mine["ar_100"]] == pytest.approx(evaluation.stats[6:9])
