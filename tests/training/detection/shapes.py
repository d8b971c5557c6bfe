"""Small data sets in COCO's format: bright squares and discs on dark noise."""

import json

import numpy as np
from PIL import Image

CATEGORIES = [{"id": 8, "name": "disc"}, {"id": 3, "name": "square"}]  # with gaps, and not in order


def disc(width, height, x, y, radius):
    rows, columns = np.mgrid[:height, :width]
    return (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2


def uncompressed(mask):
    """Run lengths down the columns, zeros first."""
    values = np.concatenate([[0], mask.T.ravel(), [2]]).astype(int)
    ends = np.flatnonzero(np.diff(values) != 0)
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], ends])).tolist()}


def box_of(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]


def make_coco(root, train=4, val=2, size=(64, 48)):
    """Image 1 of each split has a crowd as well, the last one no object at all."""
    for split, count in (("train", train), ("val", val)):
        make_split(root, split, count, size)
    return root


def make_split(root, split, count, size):
    width, height = size
    rng = np.random.default_rng(len(split))
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(1, count + 1):
        picture = rng.integers(0, 60, (height, width, 3))
        if number < count or count == 1:
            x, y = rng.integers(2, width // 2 - 14), rng.integers(2, height - 18)
            square = np.zeros((height, width), bool)
            square[y : y + 14, x : x + 14] = True
            corners = [x, y, x + 14, y, x + 14, y + 14, x, y + 14]
            round_one = disc(width, height, rng.integers(width // 2 + 9, width - 9), rng.integers(9, height - 9), 8)
            picture[square] = (230, 60, 60)
            picture[round_one] = (60, 230, 60)
            for mask, category, segmentation in (
                (square, 3, [[float(value) for value in corners]]),
                (round_one, 8, uncompressed(round_one)),
            ):
                annotations.append(annotation(number, category, mask, segmentation))
        if number == 1:
            crowd = np.zeros((height, width), bool)
            crowd[:2, : width // 2] = True
            annotations.append(annotation(number, 8, crowd, uncompressed(crowd)) | {"iscrowd": 1})
        Image.fromarray(picture.astype(np.uint8)).save(root / split / f"{number}.png")
        images.append({"id": 100 + number, "file_name": f"{number}.png", "width": width, "height": height})
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    for index, entry in enumerate(annotations):
        entry["id"] = index
    write(root, split, content)


def annotation(number, category, mask, segmentation):
    return {
        "image_id": 100 + number,
        "category_id": category,
        "bbox": box_of(mask),
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def read(root, split):
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


def write(root, split, content):
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
