"""Annotations in COCO's format: what is read, what is left out and why, which file is to blame."""

import json

import numpy as np
import pytest

pytest.importorskip("faster_coco_eval")

from faster_coco_eval.core import mask as rle

from gcnet.training.detection.coco import decode_masks, read_coco, run_lengths
from tests.training.detection.shapes import disc, make_coco, read, uncompressed, write


@pytest.fixture
def root(tmp_path):
    return make_coco(tmp_path)


def load(root, **options):
    return read_coco(root / "annotations/instances_train.json", root / "train", **options)


def test_ids_with_gaps_become_labels_in_their_order(root):
    coco = load(root)
    assert list(coco.categories.items()) == [(3, "square"), (8, "disc")]
    assert coco.labels[coco.objects(1)].tolist() == [1, 2]
    assert [image.id for image in coco.images] == [101, 102, 103, 104]
    assert coco.invalid == ()


def test_crowds_are_kept_and_are_no_objects(root):
    coco = load(root)
    assert len(coco.of(0)) == 3
    assert len(coco.objects(0)) == 2
    assert coco.crowd.tolist() == [False, False, True, False, False, False, False]


def test_an_image_without_objects_stays(root):
    coco = load(root)
    assert list(coco.of(3)) == []
    assert coco.corners(3, []).shape == (0, 4)


def test_boxes_end_at_the_border(root):
    content = read(root, "train")
    content["annotations"][0]["bbox"] = [-5, 40, 20, 20.5]
    write(root, "train", content)
    coco = load(root)
    assert coco.corners(0, [0]).tolist() == [[0, 40, 15, 48]]
    assert coco.boxes[0].tolist() == [-5, 40, 20, 20.5]


@pytest.mark.parametrize("kind", ["uncompressed", "compressed", "text"])
def test_run_lengths_give_the_mask_they_were_made_of(kind):
    mask = disc(30, 20, 11, 9, 6) | disc(30, 20, 25, 14, 3)
    segmentation = uncompressed(mask)
    if kind != "uncompressed":
        segmentation = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    if kind == "text":
        segmentation["counts"] = segmentation["counts"].decode()
    assert (decode_masks([run_lengths(segmentation, 30, 20)], 30, 20)[0] == mask).all()


def test_several_polygons_are_one_object():
    counts = run_lengths([[2, 2, 6, 2, 6, 6, 2, 6], [10, 10, 14, 10, 14, 12, 10, 12]], 20, 16)
    expected = np.zeros((16, 20), bool)
    expected[2:6, 2:6] = expected[10:12, 10:14] = True
    assert (decode_masks([counts], 20, 16)[0] == expected).all()


def test_the_area_follows_from_the_mask_where_it_is_not_given(root):
    content = read(root, "train")
    area = content["annotations"][1].pop("area")
    write(root, "train", content)
    assert load(root).areas[1] == area
    assert load(root, masks=False).areas[1] == 16 * 16


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [5, 5, 0, 4]}, r"bbox \[5, 5, 0, 4\] .* has no area inside the image of 64x48"),
        ({"bbox": [70, 5, 9, 4]}, "no area inside the image"),
        ({"bbox": [5, 5, float("nan"), 4]}, "is not x, y, width, height"),
        ({"bbox": [5, 5, 4]}, "is not x, y, width, height"),
        ({"bbox": None}, "is not x, y, width, height"),
        ({"bbox": ["5", "5", "4", "4"]}, "is not x, y, width, height"),
        ({"bbox": [5, 5, 1e-9, 4]}, "has no area inside the image"),
        ({"bbox": [63.9999999, 5, 9, 4]}, "has no area inside the image"),
        ({"area": float("nan")}, "area nan"),
        ({"area": -1}, "area -1"),
        ({"iscrowd": "yes"}, "yes"),
        ({"image_id": [101]}, "unhashable"),
        ({"category_id": 4}, "category_id 4 is none of the categories"),
        ({"image_id": 7}, "image_id 7 is none of the images"),
        ({"segmentation": [[1, 1, 5, 5]]}, "three or more points x, y, got 4 numbers"),
        ({"segmentation": []}, "has no segmentation; masks=False"),
        ({"segmentation": {"size": [64, 48], "counts": [64 * 48]}}, r"its mask has the size \[64, 48\]"),
        ({"segmentation": {"size": [48, 64], "counts": [5, 2]}}, "cover 7 of 3072 pixels"),
        ({"segmentation": {"size": [48, 64], "counts": [5, -2, 3069]}}, "not whole numbers of pixels"),
        ({"segmentation": {"size": [48, 64], "counts": [5.5, 3066.5]}}, "not whole numbers of pixels"),
        ({"segmentation": {"size": [48, 64], "counts": "0<"}}, "cover 12 of 3072 pixels"),
        ({"segmentation": {"size": [48, 64], "counts": "hello"}}, "cannot be decoded .*malformed"),
        ({"segmentation": {"size": [48, 64], "counts": None}}, "cannot be decoded"),
        ({"segmentation": [1, 1, 5, 1, 5, 5]}, "not a list of numbers x, y"),
        ({"segmentation": [[1, 1, "5", 1, 5, 5]]}, "not a list of numbers x, y"),
        ({"segmentation": [[1, 1, None, 1, 5, 5]]}, "not a list of numbers x, y"),
        ({"segmentation": [[1, 1, float("nan"), 1, 5, 5]]}, "not a list of numbers x, y"),
        ({"segmentation": [[1, 1, 1e12, 1, 5, 5]]}, "from 1 to 1e.12 pixels"),
    ],
)
def test_what_cannot_be_used_is_left_out_by_name(root, change, reason):
    content = read(root, "train")
    content["annotations"][1].update(change)
    write(root, "train", content)
    coco = load(root)
    assert len(coco.labels) == len(content["annotations"]) - 1
    with pytest.raises(ValueError, match=f"instances_train.json: annotation 1.*{reason}"):
        raise ValueError(coco.invalid[0])


def test_polygons_do_not_matter_without_masks(root):
    content = read(root, "train")
    for entry in content["annotations"]:
        del entry["segmentation"]
    write(root, "train", content)
    coco = load(root, masks=False)
    assert coco.masks is None
    assert coco.invalid == ()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "has no list 'images'"),
        ('{"images": [], "annotations": []}', "has no list 'categories'"),
    ],
)
def test_another_kind_of_file(tmp_path, content, reason):
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"odd\.json: {reason}"):
        read_coco(path, tmp_path)


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("images", {"id": 102}, "the image id 102 is there twice"),
        ("images", {"id": "x"}, "id 'x' must be a whole number"),
        ("images", {"file_name": 7}, "file_name 7 of image 101 is no name"),
        ("images", {"file_name": "../a.png"}, r"file_name '\.\./a\.png' of image 101 leaves the folder"),
        ("images", {"file_name": "/etc/a.png"}, "file_name '/etc/a.png' of image 101 leaves the folder"),
        ("images", {"width": 0}, r"1\.png cannot be 0 pixels wide and 48 high"),
        ("categories", {"id": 3}, "the category id 3 is there twice"),
        ("categories", {"name": "square"}, "the category name 'square' is there twice"),
    ],
)
def test_images_and_categories_that_cannot_be(root, key, change, reason):
    content = read(root, "train")
    content[key][0].update(change)
    write(root, "train", content)
    with pytest.raises(ValueError, match=reason):
        load(root)


def test_what_an_entry_lacks_is_named(root):
    content = read(root, "train")
    del content["annotations"][2]["bbox"]
    write(root, "train", content)
    with pytest.raises(ValueError, match=r"annotations\[2\] has no 'bbox'"):
        load(root)
    content = read(root, "val")
    del content["images"][0]["width"]
    write(root, "val", content)
    with pytest.raises(ValueError, match="image 101 has no 'width'"):
        read_coco(root / "annotations/instances_val.json", root)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_entries_are_objects(root, key):
    content = read(root, "train")
    content[key].append(None)
    write(root, "train", content)
    with pytest.raises(ValueError, match=rf"{key}\[\d+\] is None, not an object"):
        load(root)


def test_a_category_without_name(root):
    content = read(root, "train")
    del content["categories"][0]["name"]
    write(root, "train", content)
    with pytest.raises(ValueError, match="category 8 has no 'name'"):
        load(root)


@pytest.mark.parametrize(("value", "crowd"), [("0", False), (None, False), ("1", True), (True, True)])
def test_crowds_as_other_tools_write_them(root, value, crowd):
    content = read(root, "train")
    content["annotations"][0]["iscrowd"] = value
    write(root, "train", content)
    assert load(root).crowd[0] == crowd


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file of annotations"):
        read_coco(tmp_path / "none.json", tmp_path)


def test_json_of_other_tools_may_lack_annotations(tmp_path):
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    coco = read_coco(path, tmp_path)
    assert coco.boxes.shape == (0, 4)
    assert coco.first.tolist() == [0]
